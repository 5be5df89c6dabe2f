import { resolve } from 'node:path';
import { Ajv } from 'ajv';
import { afterAll, describe, expect, test } from 'vitest';
import { createLocalProvider } from '../../providers/local.ts';
import { createAskModel } from '../../src/ask-model.ts';
import type { Provider } from '../../src/core/provider.ts';
import type { ChatRequest } from '../../src/core/request.ts';
import { filtersSchema } from '../../src/filters/config.ts';
import { createFilters } from '../../src/filters/index.ts';
import { compileWithoutCode } from '../../src/filters/json-schema.ts';
import { readPromptFiles } from '../../src/prompts/files.node.ts';
import { createLibrary } from '../../src/prompts/library.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { appWith, chat } from '../app.ts';
import { modelPath } from '../engine/model.ts';
import { scripted } from '../scripted.ts';

const path = await modelPath();
const schema = {
  type: 'object',
  properties: { city: { type: 'string', maxLength: 20 }, big: { type: 'boolean' } },
  required: ['city', 'big'],
  additionalProperties: false,
};

describe.skipIf(path === null)('filters with the real engine', () => {
  const local = createLocalProvider({
    models: { m: { path: path ?? '' } },
    engine: { slots: 2, contextTokens: 1024, threads: 1 },
  });
  afterAll(() => local.close?.());
  const asked: ChatRequest[] = [];
  const engine: Provider = {
    ...local,
    stream(request, options) {
      asked.push(request);
      return local.stream(request, options);
    },
  };
  const appOf = (config: object, broken: Provider) => {
    const routing = createRouting([
      {
        name: 'test',
        filters: Object.keys(config),
        targets: [
          { name: 'up/m', provider: broken, model: 'm' },
          { name: 'local/m', provider: engine, model: 'm' },
        ],
      },
      { name: 'judge', filters: [], targets: [{ name: 'local/m', provider: engine, model: 'm' }] },
    ]);
    const library = createLibrary(readPromptFiles(resolve(import.meta.dirname, '../../prompts')));
    const ask = createAskModel(
      () => routing,
      () => library,
    );
    return appWith(broken, {
      routing,
      filters: createFilters(filtersSchema().parse(config), { ask, compileSchema: compileWithoutCode }),
    });
  };

  test.each([
    ['cut short inside a string', '{"city": "Par', '{"city": "Par'],
    ['no longer JSON after a while', '{"city": "Rome", nothing more to say', '{"city": "Rome",'],
    ['wrapped and cut', 'Sure, here it is:\n```json\n{"city": "Oslo", "big": fal', '{"city": "Oslo", "big":'],
  ])('JSON that is %s goes on from exactly there, bound to the schema', async (_how, said, beginning) => {
    asked.length = 0;
    const app = appOf({ shape: { kind: 'json', schema, action: 'repair' } }, scripted([said]));
    const response = await chat(app, { temperature: 0, max_tokens: 60 });
    const { choices } = await response.json();
    const { content } = choices[0].message;
    expect(content.startsWith(beginning)).toBe(true);
    expect(new Ajv().validate(schema, JSON.parse(content))).toBe(true);
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({ continueFinalMessage: true, responseFormat: { type: 'json-schema', schema } });
    expect(app.records[0]?.decisions).toContainEqual(expect.objectContaining({ name: 'shape', action: 'retry' }));
  });

  test('a local model judges requests and answers, and can only answer in scores', async () => {
    const judged = {
      safe: { kind: 'classifier', judge: 'judge', labels: ['violence'], threshold: 0, timeoutMs: 60_000 },
    };
    const blocked = await chat(appOf({ ...judged }, scripted(['Hello'])), {});
    expect(blocked.status).toBe(400);
    const flagged = appOf({ safe: { ...judged.safe, action: 'flag' } }, scripted(['Hello']));
    expect((await (await chat(flagged, {})).json()).choices[0].message.content).toBe('Hello');
    const details = flagged.records[0]?.decisions.flatMap(({ stage, detail }) => (stage === 'filters' ? [detail] : []));
    expect(details).toEqual([
      expect.stringMatching(/^input: violence [01]\.\d\d$/),
      expect.stringMatching(/^output: violence [01]\.\d\d$/),
    ]);
  }, 120_000);
});

test('without anybody who can go on, all is asked anew, and then the answer ends openly', async () => {
  const config = filtersSchema().parse({ shape: { kind: 'json', schema, action: 'repair' } });
  const stubborn = scripted(['{"city": "Par']);
  const routing = createRouting([
    { name: 'test', filters: ['shape'], targets: [{ name: 'up/m', provider: stubborn, model: 'm' }] },
  ]);
  const app = appWith(stubborn, { routing, filters: createFilters(config, { compileSchema: compileWithoutCode }) });
  const { choices } = await (await chat(app, {})).json();
  expect(choices[0]).toMatchObject({ finish_reason: 'content_filter', message: { content: '' } });
});

test('a retry after text was sent ends with a reason, and with not a letter of the match', async () => {
  const words = { words: { kind: 'patterns', phrases: ['forbidden'], action: 'retry', on: 'output' } };
  const provider = scripted(['This is long enough to be sent, and forbid', 'den']);
  const app = appWith(provider, {
    routing: createRouting([{ name: 'test', filters: ['words'], targets: [{ name: 'up/m', provider, model: 'm' }] }]),
    filters: createFilters(filtersSchema().parse(words)),
  });
  const text = await (await chat(app, { stream: true })).text();
  expect(text).toContain('"finish_reason":"content_filter"');
  expect(text).not.toContain('forbid');
});
