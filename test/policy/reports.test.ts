import { describe, expect, test } from 'vitest';
import { csv, parseUsageQuery, usageQueryFor } from '../../src/policy/reports.ts';

describe('usage as CSV', () => {
  test.each([
    ['plain', 'plain'],
    ['a,b', '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ['two\nlines', '"two\nlines"'],
    ['=1+1', "'=1+1"],
    ['+cmd', "'+cmd"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ["-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"],
    ['=HYPERLINK("http://x","y")', '"\'=HYPERLINK(""http://x"",""y"")"'],
    ['\t=1', "'\t=1"],
    ['\r=1', '"\'\r=1"'],
    ['\n=1', '"\'\n=1"'],
    ['＝1', "'＝1"],
    ['-12.5', '-12.5'],
    ['-', "'-"],
    ['', ''],
  ])('%j is written as %j, so that no spreadsheet runs it', (cell, written) => {
    expect(csv([['a', cell, 'b']])).toBe(`a,${written},b\r\n`);
  });
});

describe('a usage query', () => {
  const now = Date.UTC(2027, 0, 31, 12);
  test.each([
    [{}, now - 30 * 86_400_000, now + 1],
    [{ from: '7d' }, now - 7 * 86_400_000, now + 1],
    [{ from: '2027-01-01', to: '2027-01-02' }, Date.UTC(2027, 0, 1), Date.UTC(2027, 0, 2)],
    [{ from: '1798761600' }, 1_798_761_600_000, now + 1],
  ])('%j', (input, fromMs, toMs) => {
    expect(parseUsageQuery(input, now)).toMatchObject({ fromMs, toMs });
  });

  test.each([
    [{ from: 'yesterday-ish' }, 'from'],
    [{ by: 'day,password' }, 'by'],
  ])('%j is refused, naming %s', (input, param) => {
    expect(() => parseUsageQuery(input, now)).toThrow(expect.objectContaining({ param, status: 400 }));
  });

  test('of a caller is about itself, whatever it asks for', () => {
    const query = parseUsageQuery({ key: 'key_other' }, now);
    const caller = { id: 'key_me', role: 'caller' as const, tags: [], tenant: 'key_me' };
    expect(usageQueryFor(caller, query).callerId).toBe('key_me');
    expect(usageQueryFor({ ...caller, role: 'admin' }, query).callerId).toBe('key_other');
  });
});
