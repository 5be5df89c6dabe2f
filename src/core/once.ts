/**
 * Makes a value when it is first asked for, and keeps it. For what costs a start but is needed by few requests: building
 * all schemas at once was a third of a cold start at the edge.
 */
export function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
