const month31 = '(?:0[13578]|1[02])';
const month30 = '(?:0[469]|11)';
/** Days that each month surely has: 29 February needs arithmetic. */
const date = `(?:19|20)[0-9]{2}-(?:${month31}-(?:0[1-9]|[12][0-9]|3[01])|${month30}-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))`;
const time = '(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9])';
const byte = '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
const label = '[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?';
const host = `${label}(?:\\.${label}){1,4}`;
const minutes = '[0-9]{1,4}M(?:[0-9]{1,2}S)?';

/** The values of `format` that are enforced, as patterns; each generates a subset of its format. */
export const formats: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries({
    date,
    time,
    'date-time': `${date}T${time}`,
    duration: `P(?:[0-9]{1,4}D(?:T[0-9]{1,4}H)?|T(?:[0-9]{1,4}H(?:[0-9]{1,2}M)?|${minutes}|[0-9]{1,6}S)|[0-9]{1,3}W)`,
    uuid: '[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}',
    email: `[a-z0-9](?:[a-z0-9_+-]|\\.[a-z0-9]){0,30}@${host}`,
    hostname: host,
    ipv4: `${byte}\\.${byte}\\.${byte}\\.${byte}`,
    ipv6: '(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}',
    uri: `https?://${host}(?:/[A-Za-z0-9._~-]{0,60}){0,8}`,
    'uri-reference': '(?:/[A-Za-z0-9._~-]{1,60}){1,8}',
  }).map(([name, pattern]) => [name, `^(?:${pattern})$`]),
);
