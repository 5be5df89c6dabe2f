// The names, versions and licence texts of the packages whose code is in dist/: what their licences ask of who hands it on.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const packageFolder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/;

/** `sources`: files of packages, relative to `root`. Throws where a package has no licence text and names none. */
export function licencesOf(root, sources) {
  const folders = new Set(
    sources.flatMap((path) => packageFolder.exec(path)?.[0] ?? []).map((path) => join(root, path)),
  );
  const entries = [...folders].map((folder) => {
    const { name, version, license, author } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const texts = readdirSync(folder)
      .filter((file) => /^(licen[cs]e|copying|notice)/i.test(file))
      .sort()
      .map((file) => readFileSync(join(folder, file), 'utf8').trim());
    if (!license && texts.length === 0) throw new Error(`${name} names no licence: look before it is bundled.`);
    const holder = typeof author === 'string' ? author : author?.name;
    return `${name} ${version} (${license})\n\n${texts.join('\n\n') || `Copyright ${holder ?? `the authors of ${name}`}`}\n`;
  });
  return [...new Set(entries)].sort().join(`\n${'-'.repeat(80)}\n\n`);
}
