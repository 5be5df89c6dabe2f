const loopback = /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?|\[?::ffff:127(\.\d{1,3}){3}\]?)$/i;

/**
 * Why a gateway may not listen on `host`, in words for the person who starts it; undefined where it may. An open gateway
 * lends its models and its owner's accounts to whoever reaches it, so it stays on this machine.
 */
export function refuseOpenBind(host: string, open: boolean): string | undefined {
  if (!open || loopback.test(host)) return undefined;
  return (
    `Listening on ${host} without any API key would let everybody use this gateway. Create one first ` +
    '(tidegate keys create --name me), or set keys under `keys:` in tidegate.yaml, or keep server.host at 127.0.0.1.'
  );
}
