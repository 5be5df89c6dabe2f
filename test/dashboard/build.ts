/** Bundles the dashboard the way `bin/tidegate.mjs` does, into a folder of the test. */
export async function buildDashboard(outdir: string): Promise<void> {
  const script = new URL('../../scripts/build.mjs', import.meta.url).href;
  const { buildUi } = (await import(script)) as { buildUi(options: { outdir: string }): Promise<void> }; // plain JavaScript
  await buildUi({ outdir });
}
