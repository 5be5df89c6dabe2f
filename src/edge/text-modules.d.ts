/** Text that the bundler puts into the worker (wrangler.toml's rules, esbuild's text loader). */
declare module '*.md' {
  const text: string;
  export default text;
}
