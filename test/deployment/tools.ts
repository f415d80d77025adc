/** Programs that tests of the deployment files are run with; .ci/run builds them where there is Go. */
import { execFileSync } from 'node:child_process';

const answers = (program: string, args: string[]): boolean => {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

/** A kustomize that knows what our files use (5.0 or newer): the one named, the one on PATH, kubectl's. */
export const findKustomize = (): ((directory: string) => string) | undefined => {
  const named = process.env.KUSTOMIZE_PATH;
  const [program, ...args] = named
    ? [named, 'build']
    : answers('kustomize', ['version'])
      ? ['kustomize', 'build']
      : ['kubectl', 'kustomize'];
  const build = (directory: string) =>
    execFileSync(program as string, [...args, directory], { maxBuffer: 16 << 20 }).toString();
  if (named) return build;
  try {
    if (program === 'kustomize') return build;
    const version = execFileSync('kubectl', ['version', '--client'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    }).toString();
    return /Kustomize Version: v[5-9]\./.test(version) ? build : undefined;
  } catch {
    return undefined;
  }
};

/** What reads a compose file as Docker does, into JSON: compose-go's program, or docker itself. */
export const findCompose = (): ((file: string, profiles: string[]) => string) | undefined => {
  const named = process.env.COMPOSE_GO_PATH;
  const environment = (profiles: string[]) => ({ ...process.env, COMPOSE_PROFILES: profiles.join(',') });
  if (named)
    return (file, profiles) =>
      execFileSync(named, ['-format', 'json', file], { env: environment(profiles), maxBuffer: 16 << 20 }).toString();
  if (!answers('docker', ['compose', 'version'])) return undefined;
  return (file, profiles) =>
    execFileSync('docker', ['compose', '-f', file, 'config', '--format', 'json'], {
      env: environment(profiles),
      maxBuffer: 16 << 20,
    }).toString();
};
