import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';
import { precompress } from './dev/precompress.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const { version } = JSON.parse(readFileSync(here('./package.json'), 'utf8')) as { version: string };
const codec = (name: string): string => `@cornerstonejs/codec-${name}`;

export default defineConfig({
  plugins: [react(), ...(process.env['LIGHTWELL_PRECOMPRESS'] === '1' ? [precompress()] : [])],
  define: { __LIGHTWELL_VERSION__: JSON.stringify(version) },
  resolve: {
    alias: [
      { find: /^(fs|path)$/, replacement: here('./src/viewport/no-node.ts') },
      {
        find: /^@kitware\/vtk\.js\/IO\/XML\/XMLPolyDataReader(\.js)?$/,
        replacement: here('./src/viewport/vtk-xml-reader-stub.ts'),
      },
    ],
  },
  worker: { format: 'es' },
  optimizeDeps: {
    exclude: ['@cornerstonejs/dicom-image-loader'],
    include: [
      'dicom-parser',
      `${codec('libjpeg-turbo-8bit')}/decodewasmjs`,
      `${codec('charls')}/decodewasmjs`,
      `${codec('openjpeg')}/decodewasmjs`,
      `${codec('openjph')}/wasmjs`,
      `${codec('libjxl')}/decodewasmjs`,
    ],
  },
  build: {
    target: 'es2022',
    outDir: here('../src/lightwell/app/static'),
    emptyOutDir: true,
    // Small wasm files must stay files: the content security policy refuses data: connections.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 4000,
    reportCompressedSize: false,
  },
  server: {
    proxy: { '^(/t/[^/]+)?/(api|dicomweb)/': process.env['LIGHTWELL_SERVER'] ?? 'http://127.0.0.1:8900' },
  },
  test: { environment: 'node', include: ['test/**/*.test.ts'] },
});
