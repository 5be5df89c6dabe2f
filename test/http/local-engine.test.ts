import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import { removeMade, withFillInMiddle } from '../engine/gguf-files.ts';
import { writeLora } from '../engine/lora.ts';
import { modelPath } from '../engine/model.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
const path = await modelPath();

describe.skipIf(path === null)('a local model behind the gateway', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-local-'));
  let gateway: RunningGateway;
  beforeAll(async () => {
    mkdirSync(join(folder, 'prompts', 'templates'), { recursive: true });
    writeFileSync(
      join(folder, 'prompts', 'templates', 'tiny.jinja'),
      '{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]',
    );
    const configFile = join(folder, 'tidegate.yaml');
    writeFileSync(
      configFile,
      `
server: { drain: 1s }
engine:
  slots: 2
  contextTokens: 512
  threads: 1
  models:
    "${path}":
      draft: { model: "${path}", max: 4 }
      loras: { odd: "${await writeLora(576, 0.5)}" }
models:
  tiny: { targets: [{ local: "${path}" }] }
  coder: { targets: [{ local: "${await withFillInMiddle(path ?? '')}" }] }
`,
    );
    gateway = await startGateway({ port: 0, log: { level: 'silent' }, configFile });
  });
  afterAll(async () => {
    await gateway.close();
    await removeMade();
    rmSync(folder, { recursive: true });
  });
  const post = async (route: string, body: object) => {
    const response = await fetch(`${gateway.url}${route}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', temperature: 0, max_tokens: 24, ...body }),
    });
    return { status: response.status, body: await response.json() };
  };
  const messages = [{ role: 'user', content: 'Tell me about rivers.' }];

  test('its chat template comes from the prompt library, where a file has its name', async () => {
    const { body } = await post('/apply-template', { messages });
    expect(body.prompt).toBe('[user] Tell me about rivers.\n[assistant]');
  });

  test('a changed template counts from the next request after a reload, and goes when its file goes', async () => {
    const file = join(folder, 'prompts', 'templates', 'tiny.jinja');
    const before = readFileSync(file, 'utf8');
    const rendered = async () => (await post('/apply-template', { messages })).body.prompt;
    const counted = async () =>
      (await post('/v1/chat/completions', { messages, max_tokens: 1 })).body.usage.prompt_tokens;
    const [tokens, plain] = [await counted(), await rendered()];
    writeFileSync(file, `${'New words. '.repeat(20)}${before}`);
    await gateway.reload();
    expect(await rendered()).toBe(`${'New words. '.repeat(20)}${plain}`);
    expect(await counted()).toBeGreaterThan(tokens + 20);
    rmSync(file);
    await gateway.reload();
    expect(await rendered()).toContain('<|im_start|>user\nTell me about rivers.<|im_end|>');
    writeFileSync(file, before);
    await gateway.reload();
    expect(await rendered()).toBe(plain);
  });

  test('a model given by its path tells what its file says', async () => {
    const response = await fetch(`${gateway.url}/v1/models/coder`);
    expect(await response.json()).toMatchObject({ id: 'coder', quantization: 'Q4_1', parameters: '135M' });
  });

  test('its draft model’s guesses are told in usage, and switched off by request', async () => {
    const drafted = await post('/v1/chat/completions', { messages });
    const plain = await post('/v1/chat/completions', { messages, 'speculative.n_max': 0 });
    const details = drafted.body.usage.completion_tokens_details;
    expect(details.accepted_prediction_tokens).toBeGreaterThan(4);
    expect(details.rejected_prediction_tokens).toBeLessThan(4);
    expect(plain.body.usage.completion_tokens_details.accepted_prediction_tokens).toBe(0);
    expect(drafted.body.choices[0].message.content).toBe(plain.body.choices[0].message.content);
  });

  test('a stream of Anthropic’s dialect tells the prompt’s size at once, read or cached', async () => {
    for (const cached of [false, true]) {
      const response = await fetch(`${gateway.url}/v1/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          model: 'tiny',
          max_tokens: 3,
          stream: true,
          messages: [{ role: 'user', content: 'How deep is the sea?' }],
        }),
      });
      const text = await response.text();
      const told = (type: string) =>
        text.split('\n').flatMap((line) => {
          const event = line.startsWith('data: ') ? JSON.parse(line.slice(6)) : {};
          return event.type === type ? [event.usage ?? event.message.usage] : [];
        });
      const [start, end] = [...told('message_start'), ...told('message_delta')];
      expect(start.input_tokens + start.cache_read_input_tokens).toBeGreaterThan(10);
      expect({ ...end, output_tokens: 0 }).toEqual(start);
      expect(start.cache_read_input_tokens > 10).toBe(cached);
    }
  });

  test('its adapters are chosen by request', async () => {
    const plain = await post('/v1/completions', { prompt: 'The sea' });
    const odd = await post('/v1/completions', { prompt: 'The sea', lora: [{ name: 'odd', scale: 1 }] });
    const none = await post('/v1/completions', { prompt: 'The sea', lora: [{ name: 'none', scale: 1 }] });
    expect(odd.status).toBe(200);
    expect(odd.body.choices[0].text).not.toBe(plain.body.choices[0].text);
    expect(none).toMatchObject({ status: 400, body: { error: { param: 'lora' } } });
  });

  const bomb = {
    $ref: '#/$defs/l11',
    $defs: Object.fromEntries(
      Array.from({ length: 12 }, (_, i) => [
        `l${i}`,
        i === 0
          ? { type: 'string' }
          : {
              anyOf: Array.from({ length: 10 }, (__, k) => ({ anyOf: [{ $ref: `#/$defs/l${i - 1}` }, { const: k }] })),
            },
      ]),
    ),
  };
  const format = (schema: object) => ({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } });
  const custom = (grammar: object) => ({
    type: 'custom',
    custom: { name: 'patch', format: { type: 'grammar', grammar } },
  });
  const twoWays = 'root ::= "a" root "b" | "a" root "c" | "x"';
  const loop = { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } };
  const part = (one: object) => ({ messages: [{ role: 'user', content: [{ type: 'text', text: 'See:' }, one] }] });
  test.each([
    { name: 'a schema that multiplies', body: format(bomb), param: 'response_format', says: /too many ways/ },
    { name: 'a grammar with two meanings a letter', body: { grammar: twoWays }, param: 'grammar', says: /too many/ },
    { name: 'a grammar with an error', body: { grammar: 'root ::= "a' }, param: 'grammar', says: /line 1/ },
    { name: 'references in a circle', body: format(loop), param: /^response_format/, says: /points to itself/ },
    { name: 'a keyword that has no grammar', body: format({ not: {} }), param: /^response_format/, says: /'not'/ },
    {
      name: 'audio as answer',
      body: { modalities: ['text', 'audio'], audio: {} },
      param: 'modalities',
      says: /text only/,
    },
    { name: 'a voice', body: { audio: { voice: 'a', format: 'wav' } }, param: 'audio', says: /text only/ },
    {
      name: 'a search of the web',
      body: { web_search_options: {} },
      param: 'web_search_options',
      says: /does not support/,
    },
    {
      name: 'a picture',
      body: part({ type: 'image_url', image_url: { url: 'data:image/png;base64,AA' } }),
      param: 'messages[0].content[1]',
      says: /image/,
    },
    {
      name: 'a sound',
      body: part({ type: 'input_audio', input_audio: { data: 'AA', format: 'wav' } }),
      param: 'messages[0].content[1]',
      says: /audio/,
    },
    {
      name: 'a file',
      body: part({ type: 'file', file: { file_id: 'f' } }),
      param: 'messages[0].content[1]',
      says: /file/,
    },
    { name: 'a sampler that is not here', body: { top_a: 0.2 }, param: 'top_a', says: /top_a/ },
    { name: 'another order of samplers', body: { samplers: ['top_k'] }, param: 'samplers', says: /samplers/ },
    { name: 'a limit in time', body: { t_max_predict_ms: 50 }, param: 't_max_predict_ms', says: /t_max/ },
    { name: 'stop tokens', body: { stop_token_ids: [2] }, param: 'stop_token_ids', says: /stop_token_ids/ },
    { name: 'a grammar of Lark’s', body: { guided_grammar: 'start: "a"' }, param: 'guided_grammar', says: /GBNF/ },
    {
      name: 'an expression with a word boundary',
      body: { guided_regex: '\\bx' },
      param: 'guided_regex',
      says: /can’t be enforced/,
    },
    { name: 'choices of nothing', body: { guided_choice: [] }, param: 'guided_choice', says: /list of texts/ },
    {
      name: 'two forms at once',
      body: { guided_choice: ['a'], structured_outputs: { regex: 'b' } },
      param: 'structured_outputs.regex',
      says: /one of them/,
    },
    {
      name: 'a form of several parts',
      body: { structured_outputs: { structural_tag: '{}' } },
      param: 'structured_outputs.structural_tag',
      says: /structural_tag/,
    },
    {
      name: 'a tool’s grammar of Lark’s',
      body: { tools: [custom({ syntax: 'lark', definition: 'start: "a"' })] },
      param: 'tools[0].custom.format',
      says: /regex/,
    },
    {
      name: 'a tool’s expression that looks back',
      body: { tools: [custom({ syntax: 'regex', definition: 'a(?<=a)' })] },
      param: 'tools[0].custom.format',
      says: /look-around/,
    },
    {
      name: 'a grammar beside tools',
      body: { grammar: 'root ::= "a"', tools: [custom({ syntax: 'regex', definition: 'a' })] },
      param: 'grammar',
      says: /call tools/,
    },
    {
      name: 'a bias for no token',
      body: { logit_bias: { 99999999: 1 } },
      param: 'logit_bias.99999999',
      says: /no token/,
    },
  ])('$name is refused, naming the field, and soon', async ({ body, param, says }) => {
    const startedMs = performance.now();
    const answer = await post('/v1/chat/completions', { messages, ...body });
    expect(answer.status).toBe(400);
    expect(answer.body.error.param).toMatch(param);
    expect(answer.body.error.message).toMatch(says);
    expect(performance.now() - startedMs).toBeLessThan(1000);
  });

  const digit = { type: 'object', properties: { d: { enum: [7] } }, required: ['d'] };
  test.each([
    { name: 'guided_json', body: { guided_json: digit }, text: /^\{\s*"d":\s*7\s*\}$/ },
    { name: 'guided_json as text', body: { guided_json: JSON.stringify(digit) }, text: /^\{\s*"d":\s*7\s*\}$/ },
    { name: 'json_schema', body: { json_schema: digit }, text: /^\{\s*"d":\s*7\s*\}$/ },
    { name: 'guided_regex', body: { guided_regex: 'v\\d{3}|w"x' }, text: /^(v\d{3}|w"x)$/ },
    {
      name: 'guided_choice',
      body: { guided_choice: ['to the left', 'to the "right"'] },
      text: /^to the (left|"right")$/,
    },
    { name: 'guided_grammar', body: { guided_grammar: 'root ::= "o" [k]' }, text: /^ok$/ },
    {
      name: 'structured_outputs',
      body: { structured_outputs: { choice: ['only this'], json: null } },
      text: /^only this$/,
    },
    {
      name: 'what asks for nothing',
      body: { guided_choice: ['yes'], samplers: 'edkypmxt', skip_special_tokens: true, stop_token_ids: [], n_probs: 0 },
      text: /^yes$/,
    },
  ])('$name of llama-server and vLLM is kept, by chats and completions', async ({ body, text }) => {
    const chat = await post('/v1/chat/completions', { messages, ...body });
    const plain = await post('/v1/completions', { prompt: 'Say', ...body });
    expect([chat.body.choices[0].message.content, plain.body.choices[0].text]).toEqual([
      expect.stringMatching(text),
      expect.stringMatching(text),
    ]);
  });

  test('a custom tool’s input matches its expression, in chats and responses', async () => {
    const grammar = { syntax: 'regex', definition: '[A-C]{2}"\\d' };
    const forced = { tool_choice: 'required', max_tokens: 60 };
    const chat = await post('/v1/chat/completions', { messages, tools: [custom(grammar)], ...forced });
    expect(chat.body.choices[0].message.tool_calls[0].custom.input).toMatch(/^[A-C]{2}"\d$/);
    const { status, body } = await post('/v1/responses', {
      input: 'Patch it.',
      max_tokens: undefined,
      tools: [{ type: 'custom', name: 'patch', format: { type: 'grammar', ...grammar } }],
      tool_choice: 'required',
    });
    expect([status, body.output?.at(-1)]).toMatchObject([200, { input: expect.stringMatching(/^[A-C]{2}"\d$/) }]);
  });

  test('a prompt over the context is refused, or cut in its middle where the request wants that', async () => {
    const prompt = 'word '.repeat(2000);
    const refused = await post('/v1/completions', { prompt });
    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'context_length_exceeded' } } });
    const cut = await post('/v1/completions', { prompt, context_shift: true });
    expect(cut.status).toBe(200);
    expect(cut.body.usage.prompt_tokens).toBe(256);
  });

  const gap = {
    model: 'coder',
    input_prefix: 'def add(a, b):\n',
    input_suffix: '\nprint(add(1, 2))',
    n_predict: 8,
    ignore_eos: true,
    samplers: ['top_k', 'top_p', 'infill'], // llama.vim always sends these two
    t_max_predict_ms: 5000,
  };
  const extra = [{ filename: 'sub.py', text: 'def sub(a, b):\n  return a - b\n' }];

  test('fills a gap in a repository, in llama-server’s words', async () => {
    const { status, body } = await post('/infill', { ...gap, input_extra: extra });
    expect(status).toBe(200);
    expect(body).toMatchObject({ stop: true, tokens_predicted: 8, stop_type: 'limit', model: 'coder' });
    expect(body.timings).toMatchObject({ predicted_n: 8, prompt_n: body.tokens_evaluated - body.tokens_cached });
    const again = await post('/infill', {
      ...gap,
      input_extra: extra,
      response_fields: ['content', 'timings/predicted_n'],
    });
    expect(again.body).toEqual({ content: body.content, 'timings/predicted_n': 8 });

    const streamed = await fetch(`${gateway.url}/infill`, {
      method: 'POST',
      body: JSON.stringify({ ...gap, input_extra: extra, temperature: 0, stream: true }),
    });
    const events = (await streamed.text())
      .split('\n')
      .flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : []));
    const parts = events.map((line) => JSON.parse(line));
    expect(parts.map((part) => part.content).join('')).toBe(body.content);
    expect(parts.map((part) => part.stop)).toEqual([...parts.slice(1).map(() => false), true]);
  });

  test('reads the repository, the text before and the text behind as the model was taught', async () => {
    const { model, input_prefix: before, input_suffix: suffix } = gap;
    const prompt = { model, max_tokens: 1, echo: true, prompt: before, suffix };
    const { body } = await post('/v1/completions', prompt);
    expect(body.choices[0].text).toContain('<gh_stars>def add(a, b):\n<issue_start>\nprint(add(1, 2))<issue_comment>');
    const plain = await post('/infill', { ...gap, n_predict: 1 });
    const around = await post('/infill', { ...gap, n_predict: 1, input_extra: extra });
    expect(around.body.tokens_evaluated).toBeGreaterThan(plain.body.tokens_evaluated + 8);
  });

  test('leaves out what does not fit around the gap, and keeps what is next to it', async () => {
    const long = { ...gap, input_prefix: `${'x = 1\n'.repeat(900)}def add(`, input_extra: extra, n_predict: 4 };
    const { status, body } = await post('/infill', long);
    expect(status).toBe(200);
    expect(body.tokens_evaluated).toBeGreaterThan(400);
    expect(body.tokens_evaluated).toBeLessThanOrEqual(508);
  });

  test.each([
    { name: 'an infill', route: '/infill', body: { ...gap, model: 'tiny' } },
    { name: 'a suffix', route: '/v1/completions', body: { prompt: 'a', suffix: 'b' } },
  ])('$name for a model without the tokens is refused', async ({ route, body }) => {
    const answer = await post(route, body);
    expect(answer).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringMatching(/cannot fill a gap/) } },
    });
  });

  test('goes on from a text in llama-server’s words, whole and streamed', async () => {
    const first = async (content: string) => (await post('/tokenize', { content })).body.tokens[0];
    const asked = {
      model: 'tiny',
      prompt: 'The capital of France is',
      n_predict: 8,
      temperature: 0,
      stop: [],
      grammar: '',
    };
    const { body: plain } = await post('/v1/completions', { prompt: asked.prompt, max_tokens: 8 });
    const { status, body } = await post('/completion', asked);
    expect(status).toBe(200);
    expect(body).toMatchObject({ content: plain.choices[0].text, stop: true, tokens_predicted: 8, stop_type: 'limit' });
    const streamed = await fetch(`${gateway.url}/completion`, {
      method: 'POST',
      body: JSON.stringify({ ...asked, stream: true }),
    });
    const parts = (await streamed.text()).split('\n').flatMap((line) => line.match(/^data: (.*)/)?.[1] ?? []);
    expect(parts.map((part) => JSON.parse(part).content).join('')).toBe(body.content);

    const { tokens } = (await post('/tokenize', { content: asked.prompt })).body;
    const byTokens = await post('/completion', { ...asked, prompt: tokens, response_fields: ['content'] });
    expect(byTokens.body).toEqual({ content: body.content });
    const banned = await post('/completion', {
      ...asked,
      n_predict: 1,
      logit_bias: [[await first(body.content), false]],
    });
    expect(banned.body.content).not.toBe('');
    expect(body.content.startsWith(banned.body.content)).toBe(false);
    const bound = await post('/completion', { ...asked, grammar: 'root ::= "rivers"' });
    expect(bound.body.content).toBe('rivers');
    expect(await post('/completion', { n_predict: 8 })).toMatchObject({
      status: 400,
      body: { error: { param: 'prompt' } },
    });
  });

  test('takes n_predict, the limit by llama.cpp’s name, on OpenAI’s routes too; theirs rules', async () => {
    const bare = { max_tokens: undefined, n_predict: 3, ignore_eos: true };
    const used = async (route: string, body: object) => (await post(route, body)).body.usage.completion_tokens;
    expect(await used('/v1/chat/completions', { messages, ...bare })).toBe(3);
    expect(await used('/v1/completions', { prompt: 'a', ...bare })).toBe(3);
    expect(await used('/v1/completions', { prompt: 'a', ...bare, max_tokens: 2 })).toBe(2);
    expect(await used('/v1/chat/completions', { messages, ...bare, n_predict: -1, max_tokens: 2 })).toBe(2);
  });

  test('tells what prompts are made with: /props as llama-server, /tokenizer_info as vLLM', async () => {
    const props = await (await fetch(`${gateway.url}/props?model=tiny`)).json();
    expect(props).toMatchObject({ total_slots: 2, model_alias: 'tiny', eos_token: '<|im_end|>' });
    expect(props.default_generation_settings.n_ctx).toBe(512);
    expect(props.chat_template).toContain('[assistant]');
    const info = await (await fetch(`${gateway.url}/tokenizer_info`)).json(); // the first model
    expect(info).toMatchObject({ model_max_length: 512, eos_token: '<|im_end|>', chat_template: props.chat_template });
    expect((await fetch(`${gateway.url}/props?model=nope`)).status).toBe(404);
  });
});
