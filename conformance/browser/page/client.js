// What the page does with MoQT. It knows nothing of the page: whatever happens is told to `on`.

import { encodeObjectDatagram } from '@moqt/transport';
import { MoqtConnection } from '@moqt/webtransport';

/** The names of the drafts in WebTransport, newest first. */
export const protocols = { 'moqt-18': 18, 'moqt-16': 16, 'moq-00': 14 };

/** Codes of PUBLISH_DONE. */
const TRACK_ENDED = 2n;
const SUBSCRIPTION_ENDED = 3n;

/** The bit in a datagram's type that leaves the Object ID out. */
const ZERO_OBJECT_ID = 0x04;

const utf8 = new TextEncoder();

/** A session. Its methods can each be used once. */
export class Client {
    /**
     * Connects to `url`, whose certificate has the SHA-256 `hash` (hexadecimal; empty: whatever
     * the browser trusts), offering the drafts `offered` (numbers).
     */
    static async connect({ url, hash, offered, on }) {
        const options = {
            protocols: Object.keys(protocols).filter((name) => offered.includes(protocols[name])),
        };
        if (hash) {
            options.serverCertificateHashes = [{ algorithm: 'sha-256', value: bytesOf(hash) }];
        }
        const transport = new WebTransport(url, options);
        transport.closed.then(
            ({ closeCode, reason }) => on.closed(`closed with ${closeCode}${reason && `: ${reason}`}`),
            (error) => on.closed(String(error)),
        );
        await transport.ready;
        on.log('note', `WebTransport is open, protocol ${JSON.stringify(transport.protocol)}`);
        // Draft 14 can be negotiated inside of the session, too: it is what no protocol means.
        const draft = protocols[transport.protocol] ?? 14;
        // A subscription whose end has come is kept for a second, for streams on their way.
        const connection = new MoqtConnection(draft, { terminatedAliasTtlMs: 1000 });
        const client = new Client(transport, connection, on);
        // Request IDs are granted one by one on drafts 14 and 16 only.
        await connection.connect(transport, draft < 18 ? { maxRequestId: 1000n } : {});
        return client;
    }

    constructor(transport, connection, on) {
        this.transport = transport;
        this.connection = connection;
        this.on = on;
        this.answers = new Map();
        connection.onMessage = (message) => this.#message(message);
        connection.onError = (error) => on.log('error', error.message);
        connection.onClose = (code, reason) => on.log('note', `the session ended: ${code} ${reason ?? ''}`);
    }

    get draft() {
        return this.connection.draftVersion;
    }

    /** Subscribes to a track; `on.object` gets what comes and `on.ended` its end. */
    async subscribe({ namespace, name }) {
        const { connection, on } = this;
        connection.onObject = (stream, object) => {
            if (object.kind === 'data') on.object({ ...object, stream });
        };
        connection.onDatagram = (datagram) => {
            if (datagram.status !== undefined) return;
            // On drafts 14 and 16 the codec takes an Object ID that is left out for 1: it is 0.
            const objectId = datagram.typeByte & ZERO_OBJECT_ID ? 0n : datagram.objectId;
            on.object({ ...datagram, objectId, stream: null });
        };
        on.log('sent', 'SUBSCRIBE');
        const request = await connection.subscribe(fields(namespace), utf8.encode(name), {
            // What is on its way when PUBLISH_DONE comes is waited for.
            terminalDelivery: 'drain',
            onDrained: () => on.ended('the publisher ended the track'),
        });
        await this.#accepted(request);
    }

    /** Sends PUBLISH for a track, and its objects when that was accepted. */
    async publish({ namespace, name, ...how }) {
        const { connection, on } = this;
        const alias = 1n;
        on.log('sent', 'PUBLISH');
        const request = await connection.publish(fields(namespace), utf8.encode(name), alias);
        await this.#accepted(request);
        await this.#send(alias, how);
        on.log('sent', 'PUBLISH_DONE');
        await connection.publishDone(request, TRACK_ENDED, 'the track has ended');
        on.ended('all of it is sent');
    }

    /** Sends PUBLISH_NAMESPACE, and the track's objects to the first that subscribes to it. */
    async serve({ namespace, name, ...how }) {
        const { connection, on } = this;
        const alias = 1n;
        const subscribed = new Promise((resolve) => {
            connection.onSubscribe = (request, theirs, track) => {
                const wanted = text(track) === name && theirs.map(text).join('/') === namespace;
                if (wanted) resolve(request);
                else connection.rejectSubscribe(request, 0x10n, 'there is no such track');
            };
        });
        on.log('sent', 'PUBLISH_NAMESPACE');
        await this.#accepted(await connection.publishNamespace(fields(namespace)));
        const request = await subscribed;
        on.log('sent', 'SUBSCRIBE_OK');
        await connection.acceptSubscribe(request, alias);
        await this.#send(alias, how);
        on.log('sent', 'PUBLISH_DONE');
        await connection.publishDone(request, SUBSCRIPTION_ENDED, 'that was all');
        on.ended('all of it is sent');
    }

    async close() {
        await this.connection.close();
        this.transport.close();
    }

    /** Cuts `bytes` into objects and sends them, in a stream a group or in datagrams. */
    async #send(alias, { bytes, objectSize, groupSize, rate, datagrams }) {
        const began = performance.now();
        let stream;
        for (let sent = 0, at = 0; at < bytes.length; sent += 1, at += objectSize) {
            const group = BigInt(Math.floor(sent / groupSize));
            const object = BigInt(sent % groupSize);
            const payload = bytes.subarray(at, at + objectSize);
            const wait = began + (sent * 1000) / rate - performance.now();
            if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
            if (datagrams) {
                await this.#sendDatagram(alias, group, object, payload);
            } else {
                if (object === 0n) {
                    if (stream !== undefined) await this.connection.closeSubgroup(stream);
                    stream = await this.connection.openSubgroup(alias, group, 0n);
                }
                await this.connection.sendObject(stream, object, payload);
            }
            this.on.object({ groupId: group, objectId: object, payload, stream: stream ?? null });
        }
        if (stream !== undefined) await this.connection.closeSubgroup(stream);
    }

    async #sendDatagram(alias, group, object, payload) {
        if (this.draft >= 18) return this.connection.sendDatagram(alias, group, object, payload);
        // The connection sends datagrams on draft 18 only, its codec knows those of all drafts.
        const datagram = encodeObjectDatagram({
            typeByte: 0,
            trackAlias: alias,
            groupId: group,
            objectId: object,
            publisherPriority: 128,
            payload,
        });
        this.datagrams ??= this.transport.datagrams.writable.getWriter();
        return this.datagrams.write(datagram);
    }

    /** Waits until the peer has accepted a request. */
    async #accepted(request) {
        const answer = await this.#answer(request).promise;
        if (answer.type.endsWith('_ERROR')) {
            throw new Error(`${answer.type}: ${answer.errorReason} (code ${answer.errorCode})`);
        }
    }

    /** The answer to a request: it can be there before the request's ID is known here. */
    #answer(request) {
        if (!this.answers.has(request)) this.answers.set(request, Promise.withResolvers());
        return this.answers.get(request);
    }

    #message(message) {
        this.on.log('received', message.type);
        if (/_(OK|ERROR)$/.test(message.type)) this.#answer(message.requestId).resolve(message);
    }
}

function fields(namespace) {
    return namespace.split('/').filter(Boolean).map((field) => utf8.encode(field));
}

function text(bytes) {
    return new TextDecoder().decode(bytes);
}

function bytesOf(hex) {
    const digits = hex.replaceAll(':', '');
    if (!/^[0-9a-f]{64}$/i.test(digits)) throw new Error('a SHA-256 is 64 hexadecimal digits');
    return Uint8Array.from(digits.match(/../g), (byte) => parseInt(byte, 16));
}
