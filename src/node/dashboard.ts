import { fileURLToPath } from 'node:url';
import type { LocalProvider } from '../../providers/local.ts';
import type { Config } from '../config.ts';
import { systemClock } from '../core/clock.ts';
import { anonymous } from '../core/run.ts';
import type { Filters } from '../filters/index.ts';
import { tryFilters } from '../filters/try.ts';
import type { RouteEntry } from '../http/app.ts';
import type { HttpDeps } from '../http/env.ts';
import { dashboardRoutes, type Settings } from '../http/routes/dashboard.ts';
import { explainRoute } from '../http/routes/explain.ts';
import { feedbackRoutes } from '../http/routes/feedback.ts';
import { liveRoutes } from '../http/routes/live.ts';
import { type FeedbackStore, memoryFeedback } from '../observability/feedback.ts';
import type { RoutedModel, RoutingControl } from '../routing/attempt.ts';
import { describeExplanation, explanationJson } from '../routing/explanation.ts';
import { createModelsAdmin } from './models-admin.ts';
import type { Observers } from './observe.ts';
import { createSettings } from './settings.ts';
import { uiAssets } from './ui-assets.ts';

export interface DashboardOptions {
  readonly observers: Observers;
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly local: LocalProvider;
  readonly routing: RoutingControl;
  readonly models: () => readonly RoutedModel[];
  readonly filters: () => Filters;
  readonly config: () => Config;
  /** The configuration file with its text as it is now. */
  readonly file: () => { readonly path: string; readonly text: string } | undefined;
  readonly flags: Readonly<Record<string, unknown>>;
  readonly feedback?: FeedbackStore;
}

/** The dashboard at `/`, what it asks for under `/admin/`, and feedback. */
export function dashboardParts(deps: HttpDeps, options: DashboardOptions): readonly RouteEntry[] {
  const { observers, version, env, local, routing, models, filters, config, file, flags } = options;
  const { history, live, quality, observeFeedback } = observers;
  const settings: Settings = {
    show: () => current().show(),
    check: (text) => current().check(text),
  };
  const current = () => {
    const read = file();
    return createSettings({ config: config(), env, flags, ...(read && { file: read }) });
  };
  return [
    ...liveRoutes(deps, live),
    explainRoute(deps, (request, context, label) =>
      explanationJson(
        describeExplanation(routing.explain(request.model, request, context, label), routing.states, systemClock.now()),
      ),
    ),
    ...feedbackRoutes(deps, {
      history,
      store: options.feedback ?? memoryFeedback(),
      observe(feedback) {
        observeFeedback(feedback);
        routing.feedback(feedback.requestId, feedback.score);
      },
    }),
    ...dashboardRoutes(deps, {
      history,
      version,
      asset: uiAssets(fileURLToPath(new URL(uiFolder, import.meta.url))),
      settings,
      models: createModelsAdmin({ models, local, env }),
      quality: quality.report,
      tryFilters: ({ model, text, side }) =>
        tryFilters(
          filters(),
          routing.find(model),
          { text, side },
          {
            requestId: 'try',
            caller: anonymous,
            signal: AbortSignal.timeout(10_000),
            endpoint: '/admin/filters/try',
            startedMs: systemClock.now(),
            headers: {},
          },
        ),
    }),
  ];
}

/** Beside the bundle in dist/, or from the sources. */
const uiFolder = import.meta.url.endsWith('.ts') ? '../../dist/ui/' : './ui/';
