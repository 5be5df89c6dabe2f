/**
 * The composition root on Cloudflare Workers; what wrangler.toml names. It is in worker/main.ts, of which
 * scripts/edge-pieces.mjs makes modules that workerd compiles when they are first imported: wrangler itself bundles
 * everything into one script, and a cold start would compile what no request may ever ask for.
 */
export { default, TidegateState, TidegateStream } from './worker/main.ts';
