let due: (() => void)[] = [];

/**
 * Does the work when all that this turn of the event loop has read is dealt with. For writes: each one that finds its
 * reader asleep wakes it, which costs more than the write, and a reader that got one of several in a row is still awake
 * for the others.
 */
export function atTurnEnd(work: () => void): void {
  if (due.push(work) === 1) setImmediate(flush);
}

function flush(): void {
  const now = due;
  due = [];
  for (const work of now) {
    try {
      work();
    } catch (error) {
      queueMicrotask(() => {
        throw error; // one write's fault is not the next one's
      });
    }
  }
}
