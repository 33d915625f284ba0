// Serves the page, and the packages it uses, on http://127.0.0.1: there WebTransport is allowed.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
const page = fileURLToPath(new URL('page', import.meta.url));

/** Listens on a port of its own choice; `modules` is the folder `node_modules`. */
export async function serve(modules) {
    const server = createServer(async (request, response) => {
        const { pathname } = new URL(request.url, 'http://localhost');
        // A normalized path that begins with a slash does not leave its folder.
        const path = normalize(pathname === '/' ? '/index.html' : pathname);
        const file = path.startsWith('/modules/')
            ? join(modules, path.slice('/modules'.length))
            : join(page, path);
        try {
            const body = await readFile(file);
            const type = types[extname(file)] ?? 'application/octet-stream';
            response.writeHead(200, { 'content-type': type }).end(body);
        } catch {
            response.writeHead(404).end();
        }
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const { url } = await serve(process.argv[2]);
    console.log(`the page is at ${url} (its form can be filled in with ?url=…&hash=…&namespace=…&name=…)`);
}
