/** A DNS server on loopback that knows TXT records alone (RFC 1035 section 4). */
import { createSocket } from 'node:dgram';
import type { AddressInfo } from 'node:net';

export interface DnsServer {
  /** As DNS_SERVERS takes it. */
  address: string;
  /** By name; a name without any does not exist. */
  records: Map<string, string[]>;
  /** Names that were asked for. */
  asked: string[];
  /** Answers nothing from now on: `silent` not at all, `broken` SERVFAIL. */
  mood: 'well' | 'silent' | 'broken';
  stop(): Promise<void>;
}

const readName = (message: Buffer): { name: string; end: number } => {
  const labels: string[] = [];
  let at = 12;
  for (let length = message.readUInt8(at); length; length = message.readUInt8(at)) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 };
};

const txt = (text: string): Buffer => {
  const data = Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'latin1')]);
  // A pointer to the question's name; TXT, IN, no time to live.
  const head = Buffer.from([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, data.length]);
  return Buffer.concat([head, data]);
};

export const startDns = async (): Promise<DnsServer> => {
  const socket = createSocket('udp4');
  const server: DnsServer = {
    address: '',
    records: new Map(),
    asked: [],
    mood: 'well',
    stop: () => new Promise((resolve) => socket.close(() => resolve())),
  };
  socket.on('message', (message, { address, port }) => {
    const { name, end } = readName(message);
    server.asked.push(name);
    if (server.mood === 'silent') return;
    const answers = server.records.get(name) ?? [];
    const code = server.mood === 'broken' ? 2 : answers.length ? 0 : 3;
    const header = Buffer.from(message.subarray(0, 12));
    header.writeUInt16BE(0x8180 | code, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(code ? 0 : answers.length, 6);
    header.writeUInt32BE(0, 8);
    const question = message.subarray(12, end + 4);
    socket.send(Buffer.concat([header, question, ...(code ? [] : answers.map(txt))]), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  server.address = `127.0.0.1:${(socket.address() as AddressInfo).port}`;
  return server;
};
