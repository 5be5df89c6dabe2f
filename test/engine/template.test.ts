import { expect, test } from 'vitest';
import { createRenderer, TemplateError } from '../../src/engine/template.ts';

test('a template that runs without end is stopped, and is the fault of the question', () => {
  const endless = '{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}';
  const model = { chatTemplate: endless, toolTemplate: undefined, bosText: '', eosText: '', controlTexts: [] };
  const render = createRenderer(model);
  expect(() => render({ kind: 'chat', messages: [{ role: 'user', content: 'hello' }] })).toThrow(TemplateError);
});
