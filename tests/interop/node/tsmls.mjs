// ts-mls as a peer. It is a library of pure functions over a group's state; what a client has to remember is kept here.
import { readFileSync } from 'node:fs';
import * as mls from 'ts-mls';
import { createGroupInfoWithRatchetTree } from 'ts-mls/createCommit.js';
import { decodeKeyPackage, encodeKeyPackage, makeKeyPackageRef } from 'ts-mls/keyPackage.js';
import { Rejected, Unsupported, bytes, send, serve, string, text, utf8 } from './lines.mjs';

// What the other peers can read: no GREASE, and the suites of RFC 9420.
const suites = Object.entries(mls.ciphersuites)
  .filter(([, number]) => number >= 1 && number <= 7)
  .sort(([, a], [, b]) => a - b)
  .map(([name]) => name);
const capabilities = { versions: ['mls10'], ciphersuites: suites, extensions: [], proposals: [], credentials: ['basic', 'x509'] };

const decode = (b) => mls.decodeMlsMessage(b, 0)[0];
const message = (wireformat, field, value) => mls.encodeMlsMessage({ version: 'mls10', wireformat, [field]: value });
const sameBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;

class Client {
  constructor(name) {
    this.name = name;
    this.credential = { credentialType: 'basic', identity: utf8(name) };
    this.keyPackageList = [];
    this.groups = new Map();
    this.signatureKeys = new Map();
  }

  // newKeyPackage makes one with the client's signature key of the suite.
  async newKeyPackage(cs) {
    let pair = this.signatureKeys.get(cs.name);
    if (!pair) {
      pair = await cs.signature.keygen();
      this.signatureKeys.set(cs.name, pair);
    }
    const now = BigInt(Math.floor(Date.now() / 1000));
    const lifetime = { notBefore: now - 3600n, notAfter: now + 84n * 86400n };
    return mls.generateKeyPackageWithKey(this.credential, capabilities, lifetime, [], pair, cs);
  }

  async keyPackages({ suite, count }) {
    const cs = await cipherSuite(suite);
    const made = [];
    for (let i = 0; i < count; i++) made.push(await this.newKeyPackage(cs));
    for (const k of made) this.keyPackageList.push({ ...k, cs });
    return { keyPackages: made.map((k) => text(encodeKeyPackage(k.publicPackage))) };
  }

  async create({ group, suite, policy, externalSender }) {
    if (externalSender) throw new Unsupported('it takes external_senders for one sender, where RFC 9420 12.1.8.1 has a vector of them');
    const cs = await cipherSuite(suite);
    const { publicPackage, privatePackage } = await this.newKeyPackage(cs);
    const state = await mls.createGroup(utf8(group), publicPackage, privatePackage, [], cs);
    this.groups.set(group, { state, cs, policy });
  }

  async join({ welcome, policy }) {
    const w = decode(bytes(welcome)).welcome;
    for (const [i, k] of this.keyPackageList.entries()) {
      const ref = await makeKeyPackageRef(k.publicPackage, k.cs.hash);
      if (!w.secrets.some((s) => sameBytes(s.newMember, ref))) continue;
      const state = await mls.joinGroup(w, k.publicPackage, k.privatePackage, mls.emptyPskIndex, k.cs);
      this.keyPackageList.splice(i, 1);
      this.groups.set(string(state.groupContext.groupId), { state, cs: k.cs, policy });
      return;
    }
    throw new Error('no key package for this Welcome');
  }

  group(group) {
    const g = this.groups.get(group);
    if (!g) throw new Error('no such group');
    return g;
  }

  // sendCommit sends a commit and takes the next state when it is accepted.
  async sendCommit(g, next, commit, welcome) {
    const info = await groupInfo(next, g.cs);
    const v = await send(this.name, {
      commit: text(commit),
      welcome: welcome && text(message('mls_welcome', 'welcome', welcome)),
      groupInfo: text(message('mls_group_info', 'groupInfo', info)),
    });
    if (v.verdict !== 'accepted') throw new Rejected(v.reason);
    g.state = next;
  }

  async commitWith({ group }, extraProposals) {
    const g = this.group(group);
    const r = await mls.createCommit(
      { state: g.state, cipherSuite: g.cs, pskIndex: mls.makePskIndex(g.state, {}) },
      { extraProposals, ratchetTreeExtension: true, wireAsPublicMessage: g.policy !== 2 },
    );
    await this.sendCommit(g, r.newState, mls.encodeMlsMessage(r.commit), r.welcome);
  }

  async externalJoin({ groupInfo, policy }) {
    const info = decode(bytes(groupInfo)).groupInfo;
    const cs = await cipherSuite(mls.ciphersuites[info.groupContext.cipherSuite]);
    const { publicPackage, privatePackage } = await this.newKeyPackage(cs);
    const name = string(info.groupContext.groupId);
    const r = await mls.joinGroupExternal(info, publicPackage, privatePackage, this.groups.has(name), cs);
    const g = { cs, policy };
    await this.sendCommit(g, r.newState, message('mls_public_message', 'publicMessage', r.publicMessage));
    this.groups.set(name, g);
  }

  async add({ group, keyPackages }) {
    await this.commitWith({ group }, keyPackages.map(addOf));
  }

  async remove({ group, members }) {
    const leaves = members.map((m) => this.leafOf(this.group(group), m));
    await this.commitWith(
      { group },
      leaves.map((removed) => ({ proposalType: 'remove', remove: { removed } })),
    );
  }

  leafOf(g, member) {
    const i = g.state.ratchetTree.findIndex((n) => n?.nodeType === 'leaf' && string(n.leaf.credential.identity) === member);
    if (i < 0) throw new Error('no such member');
    return i / 2;
  }

  update(args) {
    return this.commitWith(args, []);
  }

  commit(args) {
    return this.commitWith(args, []);
  }

  async encrypt({ group, text: plaintext }) {
    const g = this.group(group);
    const r = await mls.createApplicationMessage(g.state, utf8(plaintext), g.cs);
    g.state = r.newState;
    return { message: text(message('mls_private_message', 'privateMessage', r.privateMessage)) };
  }

  async decrypt({ group, message: sealed }) {
    const g = this.group(group);
    const before = g.state.groupContext.epoch;
    const r = await mls.processMessage(decode(bytes(sealed)), g.state, mls.makePskIndex(g.state, {}), mls.acceptAll, g.cs);
    g.state = r.newState;
    if (r.kind === 'applicationMessage') return { outcome: 'Text', text: string(r.message), active: true };
    const active = g.state.groupActiveState.kind !== 'removedFromGroup';
    if (!active) this.groups.delete(group);
    return { outcome: g.state.groupContext.epoch === before && active ? 'Proposal' : 'Commit', active };
  }

  async state({ group }) {
    const g = this.groups.get(group);
    if (!g) return { exists: false };
    const { groupContext, keySchedule, ratchetTree } = g.state;
    return {
      exists: true,
      epoch: Number(groupContext.epoch),
      members: ratchetTree.filter((n) => n?.nodeType === 'leaf').map((n) => string(n.leaf.credential.identity)),
      exported: text(await mls.mlsExporter(keySchedule.exporterSecret, 'exporter', new Uint8Array(), 32, g.cs)),
    };
  }

  async propose({ group, kind, member, keyPackage }) {
    const g = this.group(group);
    let proposal;
    if (kind === 'add') proposal = addOf(keyPackage);
    else if (kind === 'remove') proposal = { proposalType: 'remove', remove: { removed: this.leafOf(g, member) } };
    else throw new Unsupported('its API does not keep the private key of an Update proposal');
    const r = await mls.createProposal(g.state, g.policy !== 2, proposal, g.cs);
    g.state = r.newState;
    return { message: text(mls.encodeMlsMessage(r.message)) };
  }

  async externalAdd({ groupInfo, suite }) {
    const info = decode(bytes(groupInfo)).groupInfo;
    const cs = await cipherSuite(suite);
    const k = await this.newKeyPackage(cs);
    this.keyPackageList.push({ ...k, cs });
    return { message: text(mls.encodeMlsMessage(await mls.proposeAddExternal(info, k.publicPackage, k.privatePackage, cs))) };
  }

  wipe({ group }) {
    this.groups.delete(group);
  }

  history() {
    throw new Unsupported('no part of RFC 9420');
  }

  rotate() {
    throw new Unsupported('its API keeps the credential and signature key a member joined with');
  }
}

// groupInfo makes the GroupInfo of a state. ts-mls's own writes external_pub without the length that RFC 9420 12.4.3.2 has before it, so this one is made
// of its parts.
async function groupInfo(state, cs) {
  const pair = await cs.hpke.deriveKeyPair(state.keySchedule.externalSecret);
  const key = await cs.hpke.exportPublicKey(pair.publicKey);
  const extensions = [{ extensionType: 'external_pub', extensionData: vector(key) }];
  return createGroupInfoWithRatchetTree(state.groupContext, state.confirmationTag, state, state.ratchetTree, extensions, cs);
}

// vector puts its length before a vector of less than 16,384 bytes (RFC 9420 2.1.2).
const vector = (b) => new Uint8Array([...(b.length < 64 ? [b.length] : [64 | (b.length >> 8), b.length & 255]), ...b]);

const addOf = (keyPackage) => ({ proposalType: 'add', add: { keyPackage: decodeKeyPackage(bytes(keyPackage), 0)[0] } });

const implementations = new Map();

async function cipherSuite(number) {
  if (!implementations.has(number)) {
    const name = suites[number - 1];
    const cs = await mls.getCiphersuiteImpl(mls.getCiphersuiteFromName(name));
    implementations.set(number, cs);
  }
  return implementations.get(number);
}

const { version } = JSON.parse(readFileSync(new URL('./node_modules/ts-mls/package.json', import.meta.url)));
serve(`ts-mls ${version}`, async (name) => new Client(name), (e) => e.constructor.name);
