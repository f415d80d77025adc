/**
 * A relay between the service and PostgreSQL that reads along (PostgreSQL documentation, "Message Formats"): which statements pass,
 * how often the service waits for an answer, and how many transactions write. Nothing has to be installed in the database.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** What was sent before an answer was waited for. */
export interface Flight {
  statements: string[];
  /** Transactions that ended in it and had written. */
  writingTransactions: number;
}

export interface StatementRelay {
  port: number;
  /** What has passed since this was called last. */
  take(): Flight[];
  close(): void;
}

/** Calls back for each message, whole; the first one of a client has no type. */
const createReader = (isClient: boolean, onMessage: (type: string, body: Buffer) => void) => {
  let rest: Buffer = Buffer.alloc(0);
  let isStart = isClient;
  return (chunk: Buffer): void => {
    rest = rest.length ? Buffer.concat([rest, chunk]) : chunk;
    for (;;) {
      const header = isStart ? 0 : 1;
      if (rest.length < header + 4) return;
      const end = header + rest.readUInt32BE(header);
      if (rest.length < end) return;
      onMessage(isStart ? '' : String.fromCharCode(rest.readUInt8(0)), rest.subarray(header + 4, end));
      isStart = false;
      rest = rest.subarray(end);
    }
  };
};

const textAt = (body: Buffer, at: number): string => body.toString('utf8', at, body.indexOf(0, at));

/** Whether a statement has written, by its tag and, since those of `with` tell only of the last part, its text. */
const hasWritten = (tag: string, text: string): boolean =>
  /^(INSERT 0|UPDATE|DELETE|MERGE) [1-9]/.test(tag) || /^\s*with\b.*\b(insert into|update|delete from)\b/is.test(text);

/** What passes on one connection. */
const watch = (flights: Flight[]) => {
  const prepared = new Map<string, string>();
  let current: Flight | undefined;
  /** Statements whose end has not been told, and how often the client has asked for a "ready". */
  let running: string[] = [];
  let awaited = 0;
  let wrote = false;

  const send = (text: string) => {
    if (!current) {
      current = { statements: [], writingTransactions: 0 };
      flights.push(current);
    }
    current.statements.push(text.replace(/\s+/g, ' ').trim());
    running.push(text);
  };

  return {
    fromClient: createReader(true, (type, body) => {
      if (type === 'P') {
        const name = textAt(body, 0);
        prepared.set(name, textAt(body, Buffer.byteLength(name) + 1));
      } else if (type === 'B') {
        const portal = textAt(body, 0);
        send(prepared.get(textAt(body, Buffer.byteLength(portal) + 1)) ?? '');
      } else if (type === 'Q') {
        send(textAt(body, 0));
        awaited++;
      } else if (type === 'S') awaited++;
    }),
    fromServer: createReader(false, (type, body) => {
      if (type === 'C') {
        const text = running.length > 1 ? (running.shift() ?? '') : (running[0] ?? '');
        if (hasWritten(textAt(body, 0), text)) wrote = true;
      }
      if (type !== 'Z') return;
      awaited = Math.max(0, awaited - 1);
      if (wrote && current && String.fromCharCode(body.readUInt8(0)) === 'I') {
        current.writingTransactions++;
        wrote = false;
      }
      if (awaited) return;
      running = [];
      current = undefined;
    }),
  };
};

/** Opens one in front of a PostgreSQL server, on loopback and without TLS. */
export const openStatementRelay = async (host: string, port: number): Promise<StatementRelay> => {
  let flights: Flight[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, host);
    const { fromClient, fromServer } = watch(flights);
    for (const [socket, other, read] of [
      [near, far, fromClient],
      [far, near, fromServer],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.on('data', (data: Buffer) => {
        read(data);
        other.write(data);
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    take: () => flights.splice(0),
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      flights = [];
    },
  };
};
