import { Argument, Command } from 'commander';
import { type Cli, CliError, type CommandFactory } from './cli.ts';

const shells = ['bash', 'zsh', 'fish', 'powershell'];

export const completion: CommandFactory = (cli) =>
  new Command('completion')
    .summary('complete commands in your shell')
    .description('Print the script that makes your shell complete commands, options and model names.')
    .addArgument(new Argument('<shell>').choices(shells))
    .addHelpText(
      'after',
      `
Examples:
  source <(tidegate completion bash)                 for this shell
  tidegate completion bash >> ~/.bashrc              for every new one
  tidegate completion zsh > ~/.zsh/_tidegate
  tidegate completion fish > ~/.config/fish/completions/tidegate.fish`,
    )
    .action(async (shell: string, _: unknown, self: Command) => {
      const { default: tab } = await import('@bomb.sh/tab');
      if (!self.parent) throw new CliError('completion belongs to a program');
      tab.setup('tidegate', 'tidegate', shell);
      cli.signal.throwIfAborted();
    });

/** Answers the shell's question (`tidegate complete -- …`), which the script asks at every press of Tab. */
export async function answerCompletion(cli: Cli, program: Command, words: readonly string[]): Promise<void> {
  const [{ default: tab }, { modelNames }] = await Promise.all([
    import('@bomb.sh/tab/commander'),
    import('./model-names.ts'),
  ]);
  const root = tab(program);
  const names = await modelNames(cli);
  for (const command of ['run', 'chat', 'pull', 'bench', 'models rm', 'models path']) {
    root.commands.get(command)?.argument('model', (complete) => {
      for (const name of names) complete(name, '');
    });
  }
  root.parse([...words]);
}
