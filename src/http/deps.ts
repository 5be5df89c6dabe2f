import type { ObjectStore } from '../core/objects.ts';
import type { BatchRunner } from './batch-runner.ts';
import type { AppContext, HttpDeps } from './env.ts';
import type { DocsAsset } from './routes/docs.ts';
import type { Health } from './routes/health.ts';
import type { ModelControl } from './routes/model-control.ts';
import type { DescribeModel } from './routes/models.ts';
import type { PullModel } from './routes/ollama.ts';

export interface AppDeps extends HttpDeps {
  readonly describeModel: DescribeModel;
  readonly health: () => Health;
  /** What is kept for callers between requests; absent: in memory. */
  readonly objects?: ObjectStore;
  /** Runs batches; absent: one that forgets with `objects`. A root that keeps objects calls its `resume`. */
  readonly batches?: BatchRunner;
  /** Fetches models by name, where there is a model store. */
  readonly pullModel?: PullModel;
  /** Loads and unloads local models, where there is an engine. */
  readonly modelControl?: ModelControl;
  /** Files of the browsable reference at /docs, where the root has them. */
  readonly docsAsset?: DocsAsset;
  /** Routes that only some roots have (dashboard, metrics, admin). */
  readonly routes?: readonly RouteEntry[];
}

export type Handler = (c: AppContext) => Promise<Response>;
/** Method, path, handler. A path under `/v1/` also answers without it: people forget it in base URLs. */
export type RouteEntry = readonly [method: 'GET' | 'POST' | 'DELETE', path: string, handler: Handler];
