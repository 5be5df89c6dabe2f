import type { Parameters } from './chat.ts';

interface SideProps {
  readonly parameters: Parameters;
  readonly onChange: (parameters: Parameters) => void;
  readonly open: boolean;
  readonly onClose: () => void;
}

const toolExample = `[{
  "type": "function",
  "function": {
    "name": "get_tide",
    "description": "Tide times of a harbour",
    "parameters": {
      "type": "object",
      "properties": { "harbour": { "type": "string" } },
      "required": ["harbour"]
    }
  }
}]`;

const schemaExample = `{
  "type": "object",
  "properties": {
    "title": { "type": "string" },
    "points": { "type": "array", "items": { "type": "string" } }
  },
  "required": ["title", "points"],
  "additionalProperties": false
}`;

const templates: Readonly<Record<string, string>> = {
  Concise: 'Answer in at most three sentences. Say so when you do not know.',
  Editor: 'You improve texts. Keep the meaning and the voice, cut what is not needed, and give only the new text.',
  Translator:
    'Translate what the user writes into English, or into German if it is English already. Give only the translation.',
  Tutor: 'You are a patient tutor. Ask one question at a time and let the learner find the answer.',
};

/** System prompt, sampling, tools and schema. */
export function Side({ parameters, onChange, open, onClose }: SideProps) {
  const set = <K extends keyof Parameters>(name: K, value: Parameters[K]) => onChange({ ...parameters, [name]: value });
  const number = (name: 'temperature' | 'topP' | 'maxTokens' | 'seed', title: string, step: string) => (
    <label class="field">
      <span>{title}</span>
      <input
        type="number"
        step={step}
        min="0"
        placeholder="default"
        value={parameters[name]}
        onInput={(event) => set(name, event.currentTarget.value)}
      />
    </label>
  );
  const json = (name: 'tools' | 'schema', title: string, label: string, placeholder: string, example: string) => (
    <details>
      <summary>{title}</summary>
      <div class="stack" style={{ marginTop: '8px', gap: '8px' }}>
        <textarea
          class="code"
          rows={8}
          aria-label={label}
          placeholder={placeholder}
          value={parameters[name]}
          onInput={(event) => set(name, event.currentTarget.value)}
        />
        <button type="button" class="button small" onClick={() => set(name, example)}>
          Fill in an example
        </button>
      </div>
    </details>
  );
  return (
    <aside class={`play-side ${open ? 'open' : ''}`} aria-label="Parameters">
      <div class="row only-narrow">
        <strong>Parameters</strong>
        <span class="spacer" />
        <button type="button" class="button small" onClick={onClose}>
          Done
        </button>
      </div>
      <label class="field">
        <span>System prompt</span>
        <textarea
          rows={4}
          placeholder="How the model should behave"
          value={parameters.system}
          onInput={(event) => set('system', event.currentTarget.value)}
        />
      </label>
      <label class="field">
        <span>Template</span>
        <select
          value={Object.entries(templates).find(([, text]) => text === parameters.system)?.[0] ?? ''}
          onChange={(event) => set('system', templates[event.currentTarget.value] ?? '')}
        >
          <option value="">None</option>
          {Object.keys(templates).map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <div class="grid-2">
        {number('temperature', 'Temperature', '0.1')}
        {number('topP', 'Top p', '0.05')}
        {number('maxTokens', 'Max tokens', '1')}
        {number('seed', 'Seed', '1')}
      </div>
      <label class="field">
        <span>Stop at (one a line)</span>
        <textarea rows={1} value={parameters.stop} onInput={(event) => set('stop', event.currentTarget.value)} />
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={parameters.probabilities}
          onChange={(event) => set('probabilities', event.currentTarget.checked)}
        />
        Token probabilities
      </label>
      {json('tools', 'Tools', 'Tools as JSON', '[]', toolExample)}
      {json('schema', 'JSON schema of the answer', 'JSON schema', '{}', schemaExample)}
    </aside>
  );
}
