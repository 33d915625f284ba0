// Drives the page in Chromium against `moqt`, both ways, on every draft, in streams and in
// datagrams, and compares what arrived with what was published, byte by byte.
//
// node check.mjs MODULES MOQT FOLDER: the folder `node_modules`, the command, and where to leave
// screenshots.

import { createRequire } from 'node:module';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Moqt, PATIENCE } from './moqt.mjs';
import { serve } from './site.mjs';

const [modules, moqt, folder] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, '/'))('playwright-core');

const NAMESPACE = 'browser/test';
const NAME = 'track';
/** Bytes of an object: what fits into a datagram, and what takes several packets. */
const OBJECT_SIZE = { streams: 20_000, datagrams: 1000 };
const OBJECTS = 151;
const GROUP_SIZE = 20;
/** Objects a second: so few that no queue of datagrams on the way is full. */
const RATE = 300;

const ways = [
    { way: 'moqt serve → browser', run: fromMoqt, role: 'subscribe' },
    { way: 'browser → moqt receive, by SUBSCRIBE', run: toMoqt, role: 'serve' },
    // The client has no PUBLISH on draft 14.
    { way: 'browser → moqt receive, by PUBLISH', run: toMoqt, role: 'publish', from: 16 },
];
const rows = [];
for (const stack of ['quinn', 's2n']) {
    for (const draft of [18, 16, 14]) {
        for (const carrier of ['streams', 'datagrams']) {
            const possible = ways.filter(({ from }) => draft >= (from ?? 0));
            rows.push(...possible.map((way) => ({ stack, draft, carrier, ...way })));
        }
    }
}

const work = await mkdtemp(join(tmpdir(), 'moqt-browser-'));
/** What is published, and the file it is in. The last object is half a one. */
const input = {};
for (const [carrier, size] of Object.entries(OBJECT_SIZE)) {
    const bytes = bytesFromSeed((OBJECTS - 0.5) * size, 20261122);
    input[carrier] = { bytes, file: join(work, carrier) };
    await writeFile(input[carrier].file, bytes);
}
const site = await serve(modules);
const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
console.log(`Chromium ${browser.version()}`);
let failed = 0;
try {
    for (const row of rows) {
        let { why, crashed } = await attempt(row);
        if (crashed) {
            // No server may be able to do that: it is the browser's fault, and told, but no result.
            console.log('Chromium crashed; once more:');
            ({ why } = await attempt(row));
        } else if (why && row.carrier === 'datagrams') {
            // Datagrams may be lost, on a busy machine even on its own network.
            console.log(`Not all datagrams came; once more. ${why}`);
            ({ why } = await attempt(row));
        }
        failed += why ? 1 : 0;
        const { stack, draft, way, carrier } = row;
        const columns = [stack.padEnd(5), `draft ${draft}`, way.padEnd(36), carrier.padEnd(9)];
        console.log(columns.join('  '), why ? ` FAILED: ${why}` : ' ok');
    }
} finally {
    await browser.close();
    site.close();
    await rm(work, { recursive: true });
}
console.log(`${rows.length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

/** Why a row failed, empty if it passed; and whether the page's process crashed. */
async function attempt(row) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    page.setDefaultTimeout(PATIENCE);
    let crashed = false;
    page.on('crash', () => (crashed = true));
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    const children = [];
    try {
        await row.run(row, page, (...args) => {
            const child = new Moqt(moqt, args);
            children.push(child);
            return child;
        });
        if (errors.length > 0) throw new Error(errors.join('; '));
        return { why: '', crashed };
    } catch (error) {
        // A page that crashed has no log.
        const lines = await page.locator('#log li').allInnerTexts().catch(() => []);
        const log = `the page's log: ${lines.join('; ').replaceAll('\n', ' ')}`;
        const said = children.map((child) => child.said);
        return { why: [error.message, ...errors, log, ...said].join('\n    '), crashed };
    } finally {
        const name = [row.stack, `draft-${row.draft}`, row.role, row.carrier].join('-');
        // Of a page that crashed there is none.
        await page.screenshot({ path: join(folder, `${name}.png`) }).catch(() => {});
        for (const child of children) child.kill();
        await page.close();
    }
}

/** The page subscribes to what `moqt serve` has. The page offers all drafts, moqt takes one. */
async function fromMoqt({ stack, draft, carrier }, page, start) {
    const server = start(
        'serve', ...track(), '--transport', stack, '--draft', draft, '--bind', '127.0.0.1:0', '--once',
        '-s', OBJECT_SIZE[carrier], '-g', GROUP_SIZE, '-r', RATE,
        ...(carrier === 'datagrams' ? ['--datagram'] : []), input[carrier].file,
    );
    await open(page, await server.address());
    await page.click('button[value=subscribe]');
    await ended(page, draft);
    const objects = await page.evaluate(() => window.objects.map((object) => ({
        ...object,
        payload: object.payload.toBase64(),
    })));
    sameObjects(objects, carrier);
    await page.click('#leave');
    await server.leaves();
}

/** The page publishes to `moqt receive`. The page offers one draft, moqt takes all. */
async function toMoqt({ stack, draft, carrier, role }, page, start) {
    const subscriber = start('receive', ...track(), '--transport', stack, '--bind', '127.0.0.1:0');
    await open(page, await subscriber.address());
    for (const other of [14, 16, 18].filter((other) => other !== draft)) {
        await page.uncheck(`input[name=draft][value="${other}"]`);
    }
    await page.setInputFiles('input[name=file]', input[carrier].file);
    await page.fill('input[name=objectSize]', String(OBJECT_SIZE[carrier]));
    await page.fill('input[name=groupSize]', String(GROUP_SIZE));
    await page.fill('input[name=rate]', String(RATE));
    await page.selectOption('select[name=carrier]', carrier);
    await page.click(`button[value=${role}]`);
    await ended(page, draft);
    await subscriber.leaves();
    sameBytes(subscriber.output(), input[carrier].bytes, 'what moqt wrote');
}

function track() {
    return ['-n', NAMESPACE, '--trackname', NAME];
}

async function open(page, { address, hash }) {
    const fields = { url: `https://${address}/`, hash, namespace: NAMESPACE, name: NAME };
    await page.goto(`${site.url}?${new URLSearchParams(fields)}`);
}

async function ended(page, draft) {
    await page.waitForSelector('body[data-state=ended], body[data-state=failed]');
    const state = await page.locator('#state').innerText();
    if (await page.locator('body[data-state=failed]').count() > 0) throw new Error(state);
    const spoken = await page.locator('#draft').innerText();
    if (spoken !== String(draft)) throw new Error(`draft ${spoken} was spoken`);
}

/** Each object came once, by its carrier, as it was published. */
function sameObjects(objects, carrier) {
    const size = OBJECT_SIZE[carrier];
    const missing = new Set(Array.from({ length: OBJECTS }, (_, index) => index));
    for (const { groupId, objectId, stream, payload } of objects) {
        const what = `object ${objectId} of group ${groupId}`;
        const index = Number(groupId) * GROUP_SIZE + Number(objectId);
        if (!missing.delete(index)) throw new Error(`${what} was not published, or came twice`);
        if (stream !== (carrier === 'streams')) throw new Error(`${what} did not come in ${carrier}`);
        const want = input[carrier].bytes.subarray(index * size, (index + 1) * size);
        sameBytes(Buffer.from(payload, 'base64'), want, what);
    }
    if (missing.size > 0) throw new Error(`${missing.size} objects did not come`);
}

function sameBytes(got, want, what) {
    if (got.equals(want)) return;
    const at = want.findIndex((byte, index) => byte !== got[index]);
    const where = at < 0 || at >= got.length ? '' : `, differs from byte ${at} on`;
    throw new Error(`${what} is not what was published: ${got.length} bytes for ${want.length}${where}`);
}

/** Bytes that look like chance (a linear congruential generator). */
function bytesFromSeed(length, seed) {
    let state = BigInt(seed);
    return Buffer.from(Array.from({ length }, () => {
        state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
        return Number(state >> 56n);
    }));
}
