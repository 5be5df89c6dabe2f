/** The `limit` names most like `name` (edit distance at most half its length), best first: for "did you mean". */
export function nearestNames(name: string, names: readonly string[], limit = 3): readonly string[] {
  const wanted = name.slice(0, 100).toLowerCase();
  return names
    .map((candidate) => ({ candidate, distance: editDistance(wanted, candidate.slice(0, 100).toLowerCase()) }))
    .filter(
      ({ candidate, distance }) =>
        distance <= Math.max(2, wanted.length / 2) || candidate.toLowerCase().includes(wanted),
    )
    .sort((a, b) => a.distance - b.distance)
    .slice(0, limit)
    .map(({ candidate }) => candidate);
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
