/**
 * Imports in src/ only go down: geometry, ui -> dicom-model -> client, store -> viewport ->
 * tools, actions -> panels -> app. Fails on an upward import, and when it saw no files.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const FLOORS = [['geometry', 'ui'], ['dicom-model'], ['client', 'store'], ['viewport'], ['tools', 'actions'], ['panels'], ['app']];
/** Within a shared floor: who may import whom beside itself. */
const BESIDE = { store: ['client'] };

const root = fileURLToPath(new URL('../src', import.meta.url));
const floorOf = (folder) => FLOORS.findIndex((floor) => floor.includes(folder));
const files = readdirSync(root, { recursive: true }).filter((name) => /\.tsx?$/.test(name) && !name.endsWith('.d.ts'));

const wrong = [];
for (const file of files) {
  const from = file.split('/')[0];
  const source = readFileSync(resolve(root, file), 'utf8');
  for (const [, target] of source.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
    const to = relative(root, resolve(root, dirname(file), target)).split('/')[0];
    if (to === from || floorOf(to) < 0) continue;
    const allowed = floorOf(to) < floorOf(from) || (BESIDE[from] ?? []).includes(to);
    if (!allowed) wrong.push(`${file} imports ${target}: ${from} may not import ${to}`);
  }
}

if (files.length === 0) wrong.push('no source files found');
for (const line of wrong) console.error(line);
console.log(`floors: ${files.length} files, ${wrong.length} wrong imports`);
process.exit(wrong.length === 0 ? 0 : 1);
