const month31 = '( "01" | "03" | "05" | "07" | "08" | "10" | "12" )';
const month30 = '( "04" | "06" | "09" | "11" )';
const upTo28 = '( "0" [1-9] | "1" [0-9] | "2" [0-8] )';
const day30 = '( "0" [1-9] | [1-2] [0-9] | "30" )';
const day31 = '( "0" [1-9] | [1-2] [0-9] | "3" [0-1] )';
/** Days that each month surely has: 29 February needs arithmetic. */
const date = `( "19" | "20" ) [0-9]{2} "-" ( ${month31} "-" ${day31} | ${month30} "-" ${day30} | "02-" ${upTo28} )`;
const clock = '( [0-1] [0-9] | "2" [0-3] ) ":" [0-5] [0-9] ":" [0-5] [0-9] ( "." [0-9]{1,9} )?';
const offset = '( "Z" | [+-] ( "0" [0-9] | "1" [0-3] ) ":" [0-5] [0-9] )';
const byte = '( "25" [0-5] | "2" [0-4] [0-9] | "1" [0-9] [0-9] | [1-9]? [0-9] )';
const label = '[a-z0-9] ( [a-z0-9-]{0,20} [a-z0-9] )?';
const host = `${label} ( "." ${label} ){1,4}`;
const hex = '[0-9a-f]';

/** The values of `format` that are enforced, as GBNF of the string's content; each generates a subset of its format. */
export const formats: Readonly<Record<string, string>> = {
  date,
  time: `${clock} ${offset}`,
  'date-time': `${date} "T" ${clock} ${offset}`,
  duration:
    '"P" ( [0-9]{1,4} "D" ( "T" [0-9]{1,4} "H" )? | "T" ( [0-9]{1,4} "H" ( [0-9]{1,2} "M" )? | [0-9]{1,4} "M" ( [0-9]{1,2} "S" )? | [0-9]{1,6} "S" ) | [0-9]{1,3} "W" )',
  uuid: `${hex}{8} "-" ${hex}{4} "-" [1-8] ${hex}{3} "-" [89ab] ${hex}{3} "-" ${hex}{12}`,
  email: `[a-z0-9] ( [a-z0-9_+-] | "." [a-z0-9] ){0,30} "@" ${host}`,
  hostname: host,
  ipv4: `${byte} "." ${byte} "." ${byte} "." ${byte}`,
  ipv6: `( ${hex}{1,4} ":" ){7} ${hex}{1,4}`,
  uri: `( "https" | "http" ) "://" ${host} ( "/" [A-Za-z0-9._~-]{0,60} ){0,8}`,
  'uri-reference': '( "/" [A-Za-z0-9._~-]{1,60} ){1,8}',
};
