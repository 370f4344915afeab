// Wire's @wireapp/proteus as a peer, driven by the functions that its package's typings publish. It keeps nothing itself, so a client here is what its
// users have around it: an identity, the prekeys that are not used up, and sessions by name.
import { readFileSync } from 'node:fs';
import * as proteus from '@wireapp/proteus';
import { Unsupported, bytes, serve, text, utf8 } from './lines.mjs';

await proteus.init();

const { IdentityKeyPair, PreKey, PreKeyBundle } = proteus.keys;
const { Session } = proteus.session;
const { Envelope } = proteus.message;

const buffer = (b) => b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength);
const out = (b) => text(new Uint8Array(b));

class SessionNotFound extends Error {
  code = 102; // its users' error, by the number that CoreCrypto has for it
}

class Client {
  constructor() {
    this.identity = new IdentityKeyPair();
    this.preKeys = new Map([[PreKey.MAX_PREKEY_ID, PreKey.last_resort()]]);
    this.sessions = new Map();
    // What the package asks of its user: it deletes what it has used up, and spares the last resort itself.
    this.store = {
      load_prekey: async (id) => this.preKeys.get(id),
      delete_prekey: async (id) => {
        this.preKeys.delete(id);
        return id;
      },
    };
  }

  session(name) {
    const s = this.sessions.get(name);
    if (!s) throw new SessionNotFound(`no session ${name}`);
    return s;
  }

  preKey({ preKey: id, on: signed }) {
    if (!this.preKeys.has(id)) this.preKeys.set(id, new PreKey(id));
    const key = this.preKeys.get(id);
    const bundle = signed ? PreKeyBundle.signed(this.identity, key) : new PreKeyBundle(this.identity.public_key, key);
    return { bundle: out(bundle.serialise()) };
  }

  begin({ session, bundle }) {
    this.sessions.set(session, Session.init_from_prekey(this.identity, PreKeyBundle.deserialise(buffer(bytes(bundle)))));
  }

  seal({ session, plaintext }) {
    return { message: out(Session.encrypt(this.session(session), bytes(plaintext)).serialise()) };
  }

  sealBatch() {
    throw new Unsupported('its API encrypts for one session at a time');
  }

  async unseal({ session, message }) {
    const envelope = Envelope.deserialise(buffer(bytes(message)));
    const known = this.sessions.get(session);
    if (known) return { plaintext: text(await known.decrypt(this.store, envelope)) };
    const [begun, plaintext] = await Session.init_from_message(this.identity, this.store, envelope);
    this.sessions.set(session, begun);
    return { plaintext: text(plaintext) };
  }

  fingerprints({ session }) {
    const s = this.session(session);
    return { own: this.identity.public_key.fingerprint(), local: s.get_local_identity().fingerprint(), remote: s.remote_identity.fingerprint() };
  }

  bundleFingerprint({ bundle }) {
    return { own: PreKeyBundle.deserialise(buffer(bytes(bundle))).identity_key.fingerprint() };
  }

  forget({ session }) {
    this.sessions.delete(session);
  }

  // bench tells what a message takes in count rounds, in each of which every session has one, without the time of this pipe. A session is encoded after each
  // message, as its users store it.
  async bench({ kind, count, members, size }) {
    const message = utf8('x'.repeat(size));
    const peer = new Client();
    const mine = [];
    const theirs = [];
    for (const _ of members) {
      const begun = Session.init_from_prekey(this.identity, new PreKeyBundle(peer.identity.public_key, peer.preKeys.get(PreKey.MAX_PREKEY_ID)));
      const [accepted] = await Session.init_from_message(peer.identity, peer.store, Session.encrypt(begun, message));
      await begun.decrypt(this.store, Session.encrypt(accepted, message));
      mine.push(begun);
      theirs.push(accepted);
    }
    const sealed = [];
    const encrypt = () => {
      for (const s of mine) {
        const envelope = Session.encrypt(s, message).serialise();
        s.serialise();
        if (kind === 'decrypt') sealed.push(envelope);
      }
    };
    let [begun, cpu] = [performance.now(), process.cpuUsage()];
    for (let i = 0; i < count; i++) encrypt();
    if (kind === 'decrypt') {
      [begun, cpu] = [performance.now(), process.cpuUsage()];
      for (let i = 0; i < sealed.length; i++) {
        const s = theirs[i % theirs.length];
        await s.decrypt(peer.store, Envelope.deserialise(sealed[i]));
        s.serialise();
      }
    }
    const elapsed = performance.now() - begun;
    const used = process.cpuUsage(cpu);
    const messages = count * members.length;
    return { nanoseconds: Math.round((elapsed * 1e6) / messages), cpuNanoseconds: Math.round(((used.user + used.system) * 1e3) / messages) };
  }
}

const { version } = JSON.parse(readFileSync(new URL('./node_modules/@wireapp/proteus/package.json', import.meta.url)));
serve(`@wireapp/proteus ${version}`, () => new Client(), (e) => e.constructor.name);
