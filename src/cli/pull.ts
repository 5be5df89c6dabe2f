import { Command } from 'commander';
import type { CommandFactory } from './cli.ts';
import { formatBytes } from './format.ts';
import { showPull } from './progress.ts';

export const pull: CommandFactory = (cli) =>
  new Command('pull')
    .summary('fetch a model')
    .description('Fetch a model, check it, and keep it in the cache.')
    .argument('<model>', 'NAME, hf:OWNER/REPO/FILE, hf:OWNER/REPO[:QUANT], PATH or URL')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Examples:
  tidegate pull smollm2
  tidegate pull hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf
  tidegate pull hf:bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M
  tidegate pull ~/models/mine.gguf

Environment: TIDEGATE_CACHE (folder), HF_TOKEN, HF_ENDPOINT (a mirror), HF_HUB_OFFLINE.`,
    )
    .action(async (reference: string, { json }: { json?: boolean }) => {
      const [{ pullModel }, { modelSettings }] = await Promise.all([
        import('../models/pull.ts'),
        import('../models/settings.ts'),
      ]);
      const shown = showPull(cli, reference);
      try {
        const model = await pullModel(reference, {
          settings: modelSettings(cli.env),
          signal: cli.signal,
          ...(json ? {} : { onProgress: shown.onProgress }),
        });
        shown.done();
        if (json) cli.print(JSON.stringify(model));
        else
          cli.print(`${cli.paint.green('✓')} ${model.name}  ${formatBytes(model.bytes)}  ${cli.paint.dim(model.path)}`);
      } finally {
        shown.done();
      }
    });
