/** Build step: a .br and a .gz beside every text and wasm file, for servers that pick by header. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { Plugin } from 'vite';

const QUALITY = 9;
const COMPRESSIBLE = /\.(js|css|html|svg|wasm|json)$/;

async function compress(file: string): Promise<void> {
  const data = await readFile(file);
  const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: QUALITY } };
  await writeFile(`${file}.br`, await promisify(brotliCompress)(data, quality));
  await writeFile(`${file}.gz`, await promisify(gzip)(data, { level: QUALITY }));
}

export function precompress(): Plugin {
  let out = '';
  return {
    name: 'lightwell-precompress',
    apply: 'build',
    configResolved(config) {
      out = config.build.outDir;
    },
    async closeBundle() {
      const entries = await readdir(out, { recursive: true, withFileTypes: true });
      const files = entries.filter((entry) => entry.isFile() && COMPRESSIBLE.test(entry.name));
      await Promise.all(files.map((entry) => compress(join(entry.parentPath, entry.name))));
    },
  };
}
