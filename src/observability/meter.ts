/** Takes numbers; `createMetrics` says which. Filled by prom-client on Node, and by whatever the edge has. */
export interface Meter {
  counter(spec: MetricSpec): (labels: readonly string[]) => Bound;
  histogram(spec: MetricSpec & { readonly buckets: readonly number[] }): (labels: readonly string[]) => Bound;
  /** Read only when somebody asks for the metrics. */
  scraped(
    spec: MetricSpec & { readonly kind: 'gauge' | 'counter'; readonly read: () => Iterable<ScrapedSample> },
  ): void;
}

/** `labels` are names here and, in the same order, values when bound. */
export interface MetricSpec {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}

export interface ScrapedSample {
  readonly labels: readonly string[];
  readonly value: number;
}

/** One metric with its label values: looked up once, then cheap. Adds to a counter, observes in a histogram. */
export type Bound = (value: number) => void;

/** What a label says when its real value would be one too many, or a name that only a client made up. */
export const otherLabel = '_other';
