// The command `moqt` as a process.

import { spawn } from 'node:child_process';

/** Milliseconds that anything it is waited for may take. */
export const PATIENCE = 30_000;

/** A running `moqt`. */
export class Moqt {
    said = '';
    #written = [];

    constructor(command, args) {
        this.child = spawn(command, args.map(String), { stdio: ['ignore', 'pipe', 'pipe'] });
        this.child.stdout.on('data', (chunk) => this.#written.push(chunk));
        this.child.stderr.on('data', (chunk) => (this.said += chunk));
        this.ended = new Promise((resolve) => this.child.on('close', resolve));
        this.child.on('error', (error) => (this.said += error));
    }

    /** Where it listens, and the SHA-256 of the certificate it made up. */
    async address() {
        return within(new Promise((resolve, reject) => {
            const look = () => {
                const address = this.said.match(/127\.0\.0\.1:\d+/)?.[0];
                const hash = this.said.match(/--cert-hash ([0-9a-f]{64})/)?.[1];
                if (address && hash) resolve({ address, hash });
            };
            look();
            this.child.stderr.on('data', look);
            this.ended.then(() => reject(new Error('moqt did not begin to listen')));
        }), 'moqt does not say where it listens');
    }

    /** Waits until it leaves by itself, content. */
    async leaves() {
        const code = await within(this.ended, 'moqt does not leave');
        if (code !== 0) throw new Error(`moqt left with ${code}`);
    }

    output() {
        return Buffer.concat(this.#written);
    }

    kill() {
        this.child.kill();
    }
}

async function within(promise, otherwise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(otherwise)), PATIENCE);
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}
