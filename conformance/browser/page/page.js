// The page: a form, and what comes of it. `window.objects` keeps the objects, for whoever checks.

import { Client } from './client.js';

const form = document.getElementById('form');
const at = (id) => document.getElementById(id);
const arrows = { sent: '→', received: '←', note: '·', error: '✕' };
/** So many groups are shown, and so many lines of the log. */
const SHOWN = 200;
/** So many bytes of objects are kept. */
const KEPT = 64 << 20;

let client;
let began;
let groups;
let objects;
let bytes;
let carriers;

/** What the form was filled in with in the page's address, as in `?url=…&hash=…`. */
for (const [name, value] of new URLSearchParams(location.search)) {
    if (name !== 'draft' && form.elements[name]) form.elements[name].value = value;
}

form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const data = new FormData(form);
    const role = event.submitter.value;
    const track = { namespace: data.get('namespace'), name: data.get('name') };
    begin(track, role);
    try {
        client = await Client.connect({
            url: data.get('url'),
            hash: data.get('hash').trim(),
            offered: data.getAll('draft').map(Number),
            on,
        });
        at('draft').textContent = client.draft;
        say('busy', `connected, draft ${client.draft}`);
        at('leave').disabled = false;
        await client[role]({ ...track, ...(role === 'subscribe' ? {} : await source(data)) });
    } catch (error) {
        fail(error.message);
    }
});

at('leave').addEventListener('click', async () => {
    at('leave').disabled = true;
    await client.close();
    say(document.body.dataset.state === 'busy' ? 'idle' : document.body.dataset.state, 'left');
});

const on = {
    log,
    object,
    ended(why) {
        log('note', why);
        say('ended', why);
    },
    closed(why) {
        log('note', why);
        at('leave').disabled = true;
        if (document.body.dataset.state === 'busy') fail(why);
    },
};

/** What to publish, and how. */
async function source(data) {
    const file = data.get('file');
    const blob = file.size > 0 ? file : new Blob([data.get('text')]);
    return {
        bytes: new Uint8Array(await blob.arrayBuffer()),
        objectSize: Number(data.get('objectSize')),
        groupSize: Number(data.get('groupSize')),
        rate: Number(data.get('rate')),
        datagrams: data.get('carrier') === 'datagrams',
    };
}

function begin({ namespace, name }, role) {
    began = performance.now();
    window.objects = [];
    groups = new Map();
    carriers = new Set();
    objects = 0;
    bytes = 0;
    at('map').replaceChildren();
    at('log').replaceChildren();
    at('track').textContent = `${role} · ${namespace}--${name}`;
    at('latest').textContent = '';
    count();
    say('connecting', 'connecting');
}

/** An object came, or was sent. */
function object({ groupId, objectId, stream, payload }) {
    objects += 1;
    bytes += payload.length;
    if (bytes <= KEPT) window.objects.push({ groupId, objectId, stream: stream !== null, payload });
    carriers.add(stream === null ? 'datagrams' : 'streams');
    const group = groups.get(groupId) ?? row(groupId);
    group.objects += 1;
    group.bytes += payload.length;
    const cell = document.createElement('i');
    cell.title = `object ${objectId}, ${payload.length} bytes`;
    cell.classList.toggle('datagram', stream === null);
    group.cells.append(cell);
    group.sum.textContent = `${group.objects} objects, ${group.bytes.toLocaleString('en')} bytes`;
    at('latest').textContent = preview(payload);
    count();
}

function row(groupId) {
    const line = document.createElement('li');
    const [name, cells, sum] = ['span', 'span', 'span'].map((tag) => document.createElement(tag));
    name.textContent = `group ${groupId}`;
    cells.className = 'cells';
    line.append(name, cells, sum);
    append(at('map'), line);
    const group = { cells, sum, objects: 0, bytes: 0 };
    groups.set(groupId, group);
    return group;
}

/** The beginning of a payload, as text if it is. */
function preview(payload) {
    const head = payload.subarray(0, 240);
    const text = new TextDecoder().decode(head);
    if (!/[\x00-\x08\x0e-\x1f\ufffd]/.test(text)) return text;
    return Array.from(head.subarray(0, 96), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

function count() {
    at('groups').textContent = groups.size.toLocaleString('en');
    at('objects').textContent = objects.toLocaleString('en');
    at('bytes').textContent = bytes.toLocaleString('en');
    at('carriers').textContent = [...carriers].join(', ') || '–';
}

function log(kind, what) {
    const line = document.createElement('li');
    line.className = kind;
    const time = document.createElement('time');
    time.textContent = `${((performance.now() - began) / 1000).toFixed(3)} s`;
    const arrow = document.createElement('span');
    arrow.textContent = arrows[kind];
    const words = document.createElement('span');
    words.textContent = what;
    line.append(time, arrow, words);
    append(at('log'), line);
}

function append(list, line) {
    list.append(line);
    if (list.childElementCount > SHOWN) list.firstElementChild.remove();
    list.scrollTop = list.scrollHeight;
}

function fail(why) {
    log('error', why);
    say('failed', why);
}

function say(state, words) {
    document.body.dataset.state = state;
    at('state').textContent = words;
}
