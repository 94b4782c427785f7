import { defineConfig } from 'vitest/config';
import react from '@vitejs/plugin-react';

// A region (or `meridian up`) to develop against: `MERIDIAN=http://127.0.0.1:8080 npm run dev`.
const backend = process.env['MERIDIAN'] ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react()],
  server: { proxy: { '/v1': { target: backend, ws: true } } },
  build: {
    target: 'es2022',
    sourcemap: false,
    // An inlined asset would be a data: URL in script or style, which the content security policy refuses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // A test that hangs is ended; one on a busy machine is not.
  test: { include: ['src/**/*.test.ts'], environment: 'node', testTimeout: 60_000, hookTimeout: 60_000 },
});
