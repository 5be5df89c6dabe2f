/** The upstreams, for a worker whose configuration has some. */
export { createProviders } from '../../providers/registry.ts';
export { tidegate } from '../../providers/tidegate.ts';
