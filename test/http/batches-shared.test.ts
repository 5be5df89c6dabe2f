import { expect, onTestFinished, test } from 'vitest';
import type { ObjectStore, StoredObject } from '../../src/core/objects.ts';
import { createActiveRequests } from '../../src/http/active.ts';
import { createBatchRunner } from '../../src/http/batch-runner.ts';
import { appWith } from '../app.ts';
import { type Step, scripted } from '../scripted.ts';
import { type Answer, post } from './post.ts';
import { connection, database, until } from './shared-store.ts';

/** A gateway of several on one database, with what it was asked to generate. */
interface Gateway {
  readonly app: ReturnType<typeof appWith>;
  readonly asked: string[];
  readonly resume: () => Promise<void>;
  /** From now on nothing it does reaches the store, as if its process were gone. */
  crash(): void;
}

function gatewayOn(
  store: ObjectStore,
  stepsOf: (nth: number) => readonly Step[],
  gate: Promise<void> = Promise.resolve(),
): Gateway {
  const { objects, cut } = connection(store);
  const asked: string[] = [];
  const active = createActiveRequests();
  const provider = {
    ...scripted([]),
    async *stream(...args: Parameters<ReturnType<typeof scripted>['stream']>) {
      asked.push(args[0].user ?? '');
      const { stream } = scripted(stepsOf(asked.length));
      await gate;
      yield* stream(...args);
    },
  };
  const plain = appWith(provider, { objects, active });
  const runner = createBatchRunner({ ...plain.deps, objects, active, leaseMs: 1500 });
  const app = appWith(provider, { objects, active, batches: runner });
  onTestFinished(() => {
    active.close();
    active.abortAll();
  });
  return { app, asked, resume: runner.resume, crash: cut };
}

async function begin({ app }: Gateway, names: readonly string[]): Promise<string> {
  const lines = names.map((name) =>
    JSON.stringify({
      custom_id: name,
      method: 'POST',
      url: '/v1/chat/completions',
      body: { model: 'test', user: name, messages: [{ role: 'user', content: 'Hi' }] },
    }),
  );
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set('file', new File([lines.join('\n')], 'in.jsonl'));
  const file = (await (await app.request('/v1/files', { method: 'POST', body: form })).json()) as Answer;
  const asked = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' };
  return ((await (await post(app, '/v1/batches', asked)).json()) as Answer).id;
}

const batchOf = async ({ app }: Gateway, id: string): Promise<Answer> =>
  (await app.request(`/v1/batches/${id}`)).json();
async function ended(gateway: Gateway, id: string): Promise<Answer> {
  let batch: Answer;
  await until(async () => {
    batch = await batchOf(gateway, id);
    return ['completed', 'failed', 'expired', 'cancelled'].includes(batch.status);
  });
  return batch;
}
const outputOf = async ({ app }: Gateway, batch: Answer): Promise<string[]> =>
  (await (await app.request(`/v1/files/${batch.output_file_id}/content`)).text())
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text).custom_id);
const names = Array.from({ length: 12 }, (_, index) => `r${index}`);

test('of two gateways on one database one runs the batch, and both tell how it goes', async () => {
  const store = await database();
  const [one, two] = [gatewayOn(store, () => [20, 'a']), gatewayOn(store, () => ['b'])];
  const id = await begin(one, names);
  await two.resume();
  const done = await ended(two, id);
  expect(done.request_counts).toEqual({ total: 12, completed: 12, failed: 0 });
  expect([...one.asked, ...two.asked].sort()).toEqual([...names].sort());
  expect(await outputOf(two, done)).toEqual(names);
});

test('when the gateway that runs a batch is gone, another goes on: what was answered is not asked again', async () => {
  const store = await database();
  const one = gatewayOn(store, (nth) => (nth <= 5 ? ['a'] : [60_000]));
  const two = gatewayOn(store, () => ['b']);
  const id = await begin(one, names);
  const kept = () => store.list('batch-line', 'anonymous', { limit: 100, order: 'asc' });
  await until(async () => (await kept()).items.length >= 5);
  await two.resume();
  expect(two.asked).toEqual([]);
  one.crash();
  const done = await ended(two, id);
  expect(done).toMatchObject({ status: 'completed', request_counts: { completed: 12, failed: 0 } });
  expect(two.asked).toHaveLength(7);
  expect(one.asked.slice(0, 5).filter((name) => two.asked.includes(name))).toEqual([]);
  expect(await outputOf(two, done)).toEqual(names);
  await until(async () => (await kept()).items.length === 0);
});

test('a gateway that slept through its lease changes nothing of what another did in the meantime', async () => {
  const store = await database();
  const [awake, left] = [new AbortController(), new AbortController()];
  const told = ({ signal }: AbortController) =>
    new Promise<void>((met) => signal.addEventListener('abort', () => met()));
  const isLeft = told(left);
  let leases = 0;
  const sleeping: ObjectStore = {
    ...store,
    lease: async (...work) => (leases++ === 0 ? store.lease(...work) : Promise.reject(new Error('asleep'))),
    release: async (...work) => store.release(...work).then(() => left.abort()),
  };
  const one = gatewayOn(sleeping, () => ['late'], told(awake));
  const two = gatewayOn(store, () => ['in time']);
  const id = await begin(one, ['a', 'b']);
  await until(() => one.asked.length === 2);
  await two.resume();
  const done = await ended(two, id);
  awake.abort();
  await isLeft;
  expect(await batchOf(two, id)).toEqual(done);
  const output = await (await two.app.request(`/v1/files/${done.output_file_id}/content`)).text();
  expect([output.match(/in time/g)?.length, output]).toEqual([2, expect.not.stringContaining('late')]);
  expect((await store.list('batch-line', 'anonymous', { limit: 9, order: 'asc' })).items).toEqual([]);
});

test('a batch is cancelled through any gateway, also one that nobody runs any more', async () => {
  const store = await database();
  const one = gatewayOn(store, (nth) => (nth === 1 ? ['a'] : [60_000]));
  const two = gatewayOn(store, () => ['b']);
  const running = await begin(one, names);
  await until(async () => (await store.list('batch-line', 'anonymous', { limit: 9, order: 'asc' })).items.length >= 1);
  expect(await (await post(two.app, `/v1/batches/${running}/cancel`, {})).json()).toMatchObject({
    status: 'cancelling',
  });
  const done = await ended(two, running);
  expect(done).toMatchObject({ status: 'cancelled', request_counts: { total: 12, completed: 1 } });
  expect([await outputOf(two, done), two.asked]).toEqual([['r0'], []]);

  const orphan = await begin(one, names);
  await until(async () => (await batchOf(two, orphan)).status === 'in_progress');
  one.crash();
  await post(two.app, `/v1/batches/${orphan}/cancel`, {});
  await two.resume();
  expect(await ended(two, orphan)).toMatchObject({ status: 'cancelled' });
  expect(two.asked).toEqual([]);
});

test('batches of one owner side by side keep their results apart', async () => {
  const store = await database();
  const gateway = gatewayOn(store, (nth) => (nth <= 4 ? [30, 'a'] : ['a']));
  const ids = [await begin(gateway, ['a0', 'a1', 'a2']), await begin(gateway, ['b0', 'b1', 'b2'])];
  const outputs = await Promise.all(ids.map(async (id) => outputOf(gateway, await ended(gateway, id))));
  expect(outputs).toEqual([
    ['a0', 'a1', 'a2'],
    ['b0', 'b1', 'b2'],
  ]);
});

test('a finish that a crash cut short leaves one output file, not two', async () => {
  const store = await database();
  const one = gatewayOn(store, () => ['a']);
  const id = await begin(one, ['a', 'b']);
  const done = await ended(one, id);
  const { body, ...stored } = (await store.get('batch', id, 'anonymous')) as StoredObject; // just read over HTTP
  await store.put({ ...stored, body: { ...body, status: 'finalizing', output_file_id: null } });
  for (const [index, name] of ['a', 'b'].entries()) {
    const result = { custom_id: name, response: { status_code: 200, body: {} }, error: null };
    await store.put({ kind: 'batch-line', id: `${id}:${index + 1}`, owner: 'anonymous', createdAt: 1, body: result });
  }
  const two = gatewayOn(store, () => ['b']);
  await two.resume();
  expect((await ended(two, id)).output_file_id).toBe(done.output_file_id);
  expect(two.asked).toEqual([]);
  const files = (await (await two.app.request('/v1/files?purpose=batch_output')).json()) as Answer;
  expect(files.data).toHaveLength(1);
});
