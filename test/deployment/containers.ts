/**
 * Containers without a container engine: a folder as root file system, in a mount and process namespace of its own
 * (Linux, root, util-linux). No layers, no registry: what a Dockerfile's steps do to files, and how the result runs.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, cpSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';

export interface Mount {
  /** A path of this machine. */
  from: string;
  /** Where it is in the container. */
  to: string;
  writable?: boolean;
}

/** A root file system: a folder, and what is mounted over it. */
export interface Files {
  root: string;
  mounts: Mount[];
}

export interface Process {
  files: Files;
  argv: string[];
  environment: Record<string, string>;
  directory: string;
  /** `1000:1000`; root unless given. */
  user?: string | undefined;
  /** Mounted for this process alone. */
  mounts?: Mount[];
  /** As `docker run --read-only --tmpfs /tmp --security-opt no-new-privileges` does it. */
  readOnly?: boolean;
}

/** @returns the path on this machine of a path in the container */
export const outside = ({ root, mounts }: Files, path: string): string => {
  const under = mounts
    .filter(({ to }) => path === to || path.startsWith(`${to}/`))
    .toSorted((a, b) => b.to.length - a.to.length)[0];
  return under ? join(under.from, path.slice(under.to.length)) : join(root, path);
};

/**
 * The Node image: a Debian with Node and npm, which here are those of this machine; `/usr/local` is the image's own.
 * The caller's npm configuration comes along, since it may say where packages are to be had.
 */
export const nodeBase = (root: string, node: string): Files => {
  for (const directory of ['usr', 'etc', 'tmp', 'proc', 'dev', 'root'])
    mkdirSync(join(root, directory), { recursive: true });
  execFileSync('ln', ['-s', 'usr/bin', 'usr/sbin', 'usr/lib', 'usr/lib64', root]);
  const local = `${root}-local`;
  mkdirSync(join(local, 'bin'), { recursive: true });
  cpSync(node, join(local, 'bin/node'));
  const userconfig = join(process.env.HOME ?? '/root', '.npmrc');
  if (existsSync(userconfig)) cpSync(userconfig, join(root, 'root/.npmrc'));
  const npm = execFileSync('readlink', ['-f', execFileSync('which', ['npm']).toString().trim()])
    .toString()
    .trim();
  // Found in /usr/lib, or wherever else this machine has it.
  const modules = dirname(dirname(dirname(npm)));
  const own = npm.startsWith('/usr/lib/') || npm.startsWith('/usr/share/');
  if (!own) {
    cpSync(join(modules, 'npm'), join(local, 'lib/node_modules/npm'), { recursive: true });
    execFileSync('ln', ['-s', '../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin/npm')]);
  }
  return {
    root,
    mounts: [
      { from: '/usr', to: '/usr' },
      { from: '/etc', to: '/etc' },
      { from: local, to: '/usr/local', writable: true },
    ],
  };
};

/** What distroless/cc holds, out of the same packages of Debian 12. */
const distrolessPackages = ['libc6', 'libgcc-s1', 'libstdc++6', 'libgomp1', 'libssl3', 'tzdata', 'netbase'];

export const distrolessBase = (root: string): Files => {
  for (const directory of ['usr/lib', 'usr/lib64', 'usr/bin', 'etc/ssl/certs', 'tmp', 'proc', 'dev', 'root'])
    mkdirSync(join(root, directory), { recursive: true });
  execFileSync('ln', ['-s', 'usr/bin', 'usr/lib', 'usr/lib64', root]);
  for (const name of distrolessPackages) {
    let listed = '';
    try {
      listed = execFileSync('dpkg', ['-L', name], { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
    } catch {
      // A library that this machine lacks is not missed unless Node wants it, which the start will tell.
    }
    for (const file of listed.split('\n')) {
      if (!file.startsWith('/') || /^\/usr\/share\/(doc|man|locale|lintian|gdb)\//.test(file)) continue;
      if (!existsSync(file) || lstatSync(file).isDirectory()) continue;
      mkdirSync(join(root, dirname(file)), { recursive: true });
      execFileSync('cp', ['-a', file, join(root, file)]);
    }
  }
  cpSync('/etc/ssl/certs/ca-certificates.crt', join(root, 'etc/ssl/certs/ca-certificates.crt'));
  execFileSync('sh', [
    '-c',
    `printf 'root:x:0:0:root:/root:/sbin/nologin\\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\\n' >'${root}/etc/passwd'`,
  ]);
  return { root, mounts: [] };
};

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** The commands that lay out the file system, run as the first process of its namespaces, and become the program. */
const script = ({ files, argv, environment, directory, user = '0:0', mounts = [], readOnly }: Process): string => {
  const { root } = files;
  const at = (path: string) => quote(join(root, path));
  const bind = ({ from, to, writable }: Mount) => [
    `if [ -d ${quote(from)} ]; then mkdir -p ${at(to)}; else mkdir -p ${at(posix.dirname(to))}; [ -e ${at(to)} ] || : > ${at(to)}; fi`,
    `mount --bind ${quote(from)} ${at(to)}`,
    ...(writable ? [] : [`mount -o remount,bind,ro ${at(to)}`]),
  ];
  const devices = ['null', 'zero', 'random', 'urandom'].flatMap((name) =>
    bind({ from: `/dev/${name}`, to: `/dev/${name}`, writable: true }),
  );
  const [uid = '0', gid = uid] = user.split(':');
  const variables = Object.entries(environment).map(([name, value]) => quote(`${name}=${value}`));
  const first = readOnly ? ['setpriv', '--no-new-privs'] : [];
  return [
    'set -e',
    'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
    `mkdir -p ${at('/tmp')} ${at('/proc')} ${at('/dev')} ${at(directory)}`,
    `mount --bind ${quote(root)} ${quote(root)}`,
    ...files.mounts.flatMap(bind),
    `mount -t tmpfs tmpfs ${at('/dev')}`,
    ...devices,
    `mount -t proc proc ${at('/proc')}`,
    `mount -t tmpfs -o mode=1777 tmpfs ${at('/tmp')}`,
    ...mounts.flatMap(bind),
    ...(readOnly ? [`mount -o remount,bind,ro ${quote(root)}`] : []),
    [
      'exec',
      'env',
      '-i',
      ...variables,
      ...first,
      '/usr/bin/unshare',
      `--root=${quote(root)}`,
      `--wd=${quote(directory)}`,
    ]
      .concat([`--setgid=${gid}`, `--setuid=${uid}`, '--', ...argv.map(quote)])
      .join(' '),
  ].join('\n');
};

const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private', '--', '/bin/sh', '-c'];

/** Starts a process as the first of its container. Its output is the caller's to read. */
export const start = (container: Process): ChildProcess =>
  spawn('unshare', [...namespaces, script(container)], { stdio: ['ignore', 'pipe', 'pipe'] });

/** Runs a process to its end. @throws with its output unless it exits with 0 */
export const run = (container: Process, limitMs = 300_000): string => {
  try {
    return execFileSync('unshare', [...namespaces, script(container)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: limitMs,
      maxBuffer: 64 << 20,
    }).toString();
  } catch (error) {
    const { stdout, stderr, status } = error as { stdout?: Buffer; stderr?: Buffer; status?: number };
    throw new Error(`${container.argv.join(' ').slice(0, 200)} exited with ${status}:\n${stdout}${stderr}`);
  }
};

/** Signals the first process of a container, which is what `docker stop` does. */
export const signal = ({ pid }: ChildProcess, name: NodeJS.Signals): void => {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  process.kill(Number(children[0]), name);
};

/** COPY: folders give their contents. Everything belongs to root unless `owner` says otherwise. */
export const copy = (
  sources: { path: string; name: string }[],
  target: string,
  {
    intoDirectory,
    owner,
    keeps = () => true,
  }: { intoDirectory: boolean; owner?: string | undefined; keeps?: (path: string) => boolean },
): void => {
  for (const { path, name } of sources) {
    const isDirectory = lstatSync(path).isDirectory();
    const to = intoDirectory && !isDirectory ? join(target, posix.basename(name)) : target;
    mkdirSync(isDirectory ? to : dirname(to), { recursive: true });
    cpSync(path, to, {
      recursive: true,
      verbatimSymlinks: true,
      preserveTimestamps: true,
      filter: (file) => keeps(posix.join(name, file.slice(path.length))),
    });
    chmodSync(to, lstatSync(path).mode);
    const [uid = 0, gid = uid] = (owner ?? '0:0').split(':').map(Number);
    execFileSync('chown', ['-R', '-h', `${uid}:${gid}`, to]);
  }
};

/** @returns the bytes of the files below a folder */
export const sizeOf = (path: string): number => {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return 0;
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
};

/** A folder that a user of the container may write to, as a fresh volume takes over owner and mode of what it covers. */
export const volume = (directory: string, covered: string): string => {
  mkdirSync(directory, { recursive: true });
  const { uid, gid, mode } = lstatSync(covered);
  chownSync(directory, uid, gid);
  chmodSync(directory, mode);
  return directory;
};
