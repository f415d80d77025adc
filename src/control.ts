/**
 * The embedded database can be opened by one process alone. Whoever has it listens on a socket in DATA_DIR and runs
 * commands for others; the socket is the lock as well.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join, relative } from 'node:path';

export interface ControlRequest {
  command: string;
  input: unknown;
}

export type ControlReply = { result: unknown } | { error: string };

/** Relative when that is shorter: a socket's path may have 107 bytes. */
const socketPath = (directory: string): string => {
  const path = join(directory, 'control.sock');
  const short = relative(process.cwd(), path);
  return short.length < path.length ? short : path;
};

const requestLimitBytes = 256 * 1024;
/** How long a connection may be silent. A command may take as long to run. */
const requestMs = 30_000;

const readLine = async (socket: Socket, limit: number): Promise<string> => {
  let text = '';
  // The socket stays open after the line: the reply goes out on it.
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (text.length > limit) throw new Error('the message is too long');
    if (text.endsWith('\n')) return text;
  }
  return text;
};

/** Asks the process that has the database. @returns undefined when there is none */
export const askOwner = async (directory: string, request: ControlRequest): Promise<ControlReply | undefined> => {
  const socket = await new Promise<Socket | undefined>((resolve, reject) => {
    const socket = connect(socketPath(directory), () => resolve(socket));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ENOENT' || error.code === 'ECONNREFUSED' ? resolve(undefined) : reject(error),
    );
  });
  if (!socket) return undefined;
  try {
    socket.write(`${JSON.stringify(request)}\n`);
    return JSON.parse(await readLine(socket, Number.POSITIVE_INFINITY)) as ControlReply;
  } finally {
    socket.destroy();
  }
};

/**
 * Becomes the owner. @param answer runs a request; it must not throw
 * @throws Error when another process is, or the folder cannot be used
 */
export const becomeOwner = async (
  directory: string,
  answer: (request: ControlRequest) => Promise<ControlReply>,
): Promise<{ release(): Promise<void> }> => {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // The folder is closed to others, so the socket is too before its own mode is set.
    chmodSync(directory, 0o700);
  } catch (error) {
    throw new Error(`DATA_DIR: ${(error as Error).message}`, { cause: error });
  }
  const path = socketPath(directory);
  const server = createServer((socket) => {
    socket.on('error', () => {});
    // Whoever connects and says nothing must not keep the process from ending.
    socket.setTimeout(requestMs, () => socket.destroy());
    readLine(socket, requestLimitBytes)
      .then((line) => answer(JSON.parse(line) as ControlRequest))
      .catch((): ControlReply => ({ error: 'the request could not be read' }))
      .then((reply) => socket.end(`${JSON.stringify(reply)}\n`));
  });
  const listen = () =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
  await listen().catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE') throw error;
    if (await isAnswered(path)) throw new Error(`Another process has the database in ${directory} open.`);
    // Left behind by a process that was killed.
    rmSync(path, { force: true });
    await listen();
  });
  chmodSync(path, 0o600);
  return { release: () => closeServer(server) };
};

const isAnswered = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    // Refused: nobody listens any more. Anything else (no permission, too many waiting) is not for us to judge.
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });

const closeServer = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));
