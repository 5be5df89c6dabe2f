/** Before any test: dist/ as `npm start` would make it, for tests that start the command or look at the dashboard. */
export async function setup(): Promise<void> {
  const { buildIfChanged } = await import('../scripts/build.mjs' as string);
  await buildIfChanged();
}
