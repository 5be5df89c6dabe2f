import type { Clock } from '../../src/core/clock.ts';
import type { Provider } from '../../src/core/provider.ts';
import type { Feedback } from '../../src/core/record.ts';
import { anonymous, type Caller } from '../../src/core/run.ts';
import type { Status } from '../../src/core/status.ts';
import { createActiveRequests } from '../../src/http/active.ts';
import { createApp } from '../../src/http/app.ts';
import { defaultHttpOptions } from '../../src/http/env.ts';
import { type DashboardDeps, dashboardRoutes } from '../../src/http/routes/dashboard.ts';
import { feedbackRoutes } from '../../src/http/routes/feedback.ts';
import { liveRoutes } from '../../src/http/routes/live.ts';
import { memoryFeedback } from '../../src/observability/feedback.ts';
import { createHistory } from '../../src/observability/history.ts';
import { createLive } from '../../src/observability/live.ts';
import { openPolicy } from '../../src/policy/admit.ts';
import { gatewayWith } from './harness.ts';

export interface AdminApp {
  readonly providers: readonly Provider[];
  readonly caller?: Caller;
  readonly clock?: Clock;
  readonly status?: Status;
  readonly parts?: Partial<DashboardDeps>;
}

/** The whole http app with the live board, history, feedback and dashboard, over scripted providers. */
export function adminApp({ providers, caller = anonymous, clock, status, parts }: AdminApp) {
  const history = createHistory({ size: 50 });
  const live = createLive({ ...(status && { status }), ...(clock && { clock }) });
  const given: Feedback[] = [];
  const gateway = gatewayWith({
    providers,
    ...(clock && { clock }),
    sinks: [history.sink],
    watchers: [live.watch, history.watch],
  });
  const deps = {
    gateway,
    policy: openPolicy(caller),
    active: createActiveRequests(),
    options: defaultHttpOptions,
    describeModel: async () => ({ ownedBy: 'up', created: 0 }),
    health: () => ({ ready: true, parts: {} }),
  };
  const routes = [
    ...liveRoutes(deps, live),
    ...feedbackRoutes(deps, { history, store: memoryFeedback(), observe: (feedback) => void given.push(feedback) }),
    ...dashboardRoutes(deps, { history, version: '1.2.3', asset: async () => undefined, ...parts }),
  ];
  return { app: createApp({ ...deps, routes }), live, history, gateway, given, active: deps.active };
}

export const post = (body: object, headers: Record<string, string> = {}) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify(body),
});
