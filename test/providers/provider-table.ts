import { anthropicCapabilities } from '../../providers/anthropic.ts';
import { azureCapabilities } from '../../providers/azure-openai.ts';
import { bedrockCapabilities } from '../../providers/bedrock.ts';
import { cohereCapabilities } from '../../providers/cohere.ts';
import { geminiCapabilities } from '../../providers/gemini.ts';
import { localCapabilities } from '../../providers/local.ts';
import { onnxCapabilities } from '../../providers/onnx.ts';
import { capabilitiesOf, type Preset, presets } from '../../providers/presets.ts';
import { tidegateCapabilities } from '../../providers/tidegate.ts';
import type { Capabilities } from '../../src/core/provider.ts';

export interface TableRow {
  readonly title: string;
  /** What stands under `type:` in the configuration. */
  readonly type: string;
  readonly capabilities: Capabilities;
  /** Abilities that are emulated openly rather than the target's own. */
  readonly emulated?: readonly (keyof Capabilities)[];
}

const columns: readonly (readonly [keyof Capabilities, string])[] = [
  ['tools', 'tools'],
  ['toolChoice', 'forced tool'],
  ['jsonSchema', 'JSON schema'],
  ['images', 'images'],
  ['audio', 'audio'],
  ['reasoning', 'reasoning'],
  ['logprobs', 'logprobs'],
  ['choices', '`n`'],
  ['seed', 'seed'],
  ['grammar', 'grammar'],
  ['prefill', 'continues an answer'],
  ['completions', 'raw completions'],
  ['embeddings', 'embeddings'],
];

const byTool = ['jsonSchema', 'jsonObject'] as const;

/** Every type of provider, in the order people look for them. */
export const providerRows: readonly TableRow[] = [
  { title: 'a GGUF model here (llama.cpp)', type: 'local', capabilities: localCapabilities },
  { title: 'an ONNX model here', type: 'onnx', capabilities: onnxCapabilities },
  { title: 'another Tidegate', type: 'tidegate', capabilities: tidegateCapabilities },
  ...presetRows((type) => type === 'openai'),
  { title: 'Azure OpenAI', type: 'azure-openai', capabilities: azureCapabilities },
  { title: 'Anthropic', type: 'anthropic', capabilities: anthropicCapabilities, emulated: byTool },
  { title: 'Google Gemini', type: 'gemini', capabilities: geminiCapabilities },
  { title: 'Google Vertex AI', type: 'vertex', capabilities: { ...geminiCapabilities, embeddings: false } },
  { title: 'Amazon Bedrock', type: 'bedrock', capabilities: bedrockCapabilities, emulated: byTool },
  { title: 'Cohere', type: 'cohere', capabilities: cohereCapabilities },
  ...presetRows((type) => type !== 'openai'),
];

function presetRows(wanted: (type: string) => boolean): TableRow[] {
  return Object.entries<Preset>(presets).flatMap(([type, preset]) =>
    wanted(type)
      ? [
          {
            title: preset.title,
            type,
            capabilities: capabilitiesOf(preset),
            ...(preset.oddities?.jsonSchemaByTool ? { emulated: ['jsonSchema' as const] } : {}),
          },
        ]
      : [],
  );
}

/** What each provider is able to do, as a Markdown table. */
export function providerTable(rows: readonly TableRow[]): string {
  const cell = ({ capabilities, emulated }: TableRow, name: keyof Capabilities) =>
    emulated?.includes(name) ? 'by a tool' : capabilities[name] ? 'yes' : '';
  const lines = rows.map((row) => {
    const own = row.capabilities.dialects.map((dialect) => `\`${dialect}\``).join(', ');
    return `| ${[row.title, `\`${row.type}\``, ...columns.map(([name]) => cell(row, name)), own].join(' | ')} |`;
  });
  const head = ['provider', '`type`', ...columns.map(([, title]) => title), 'passes through'];
  return [`| ${head.join(' | ')} |`, `|${' --- |'.repeat(head.length)}`, ...lines].join('\n');
}
