/** What of JSON Schema the configuration's own schema uses. */
interface Schema {
  readonly type?: string | readonly string[];
  /** Of a duration and a size, which are texts or numbers. */
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

/** Every setting of `tidegate.yaml` as a page of Markdown, made of the schema that checks it. */
export function configReference(root: Schema): string {
  const row = (path: string, schema: Schema): string => {
    const shown = schema.default === undefined ? '' : `\`${escaped(JSON.stringify(schema.default))}\``;
    return `| \`${path}\` | ${kindOf(schema)} | ${shown} | ${escaped(schema.description)} |`;
  };
  /** A row for what only holds others, where something is said of it. */
  const described = (path: string, { description }: Schema): string[] =>
    description === undefined ? [] : [`| \`${path}\` | | | ${escaped(description)} |`];
  const placeOf = new Map<string, string>();
  const rows = (path: string, schema: Schema): string[] => {
    if (schema.$ref !== undefined) {
      const known = placeOf.get(schema.$ref);
      if (known !== undefined) return described(path, { description: `As \`${known}\`.` });
      placeOf.set(schema.$ref, path);
      return rows(path, root.$defs?.[schema.$ref.replace('#/$defs/', '')] ?? {});
    }
    const variants = objectsOf(schema);
    if (variants) return [...described(path, schema), ...variantRows(path, variants)];
    if (schema.properties && isPlainList(schema.properties)) return [row(path, schema)];
    if (schema.properties) return [...described(path, schema), ...fieldRows(path, schema.properties)];
    const { additionalProperties: named, items } = schema;
    if (typeof named === 'object') {
      const own = holdsOthers(named) || named.description !== undefined ? rows(`${path}.NAME`, named) : [];
      return own.length > 0 ? [...described(path, schema), ...own] : [row(path, schema)];
    }
    const list = items && items.type !== 'string' ? rows(`${path}[]`, items) : [];
    return list.length > 1 ? [...described(path, schema), ...list] : [row(path, schema)];
  };
  const fieldRows = (path: string, fields: Readonly<Record<string, Schema>>): string[] =>
    Object.entries(fields).flatMap(([name, field]) => rows(path === '' ? name : `${path}.${name}`, field));
  /** What all variants share comes first, then what each has of its own, each field once. */
  const variantRows = (path: string, variants: readonly Schema[]): string[] => {
    const text = (part: unknown) => JSON.stringify(part);
    const [first = {}, ...others] = variants.map(({ properties = {} }) => properties);
    const shared = Object.fromEntries(
      Object.entries(first).filter(([name, field]) => others.every((other) => text(other[name]) === text(field))),
    );
    const told = new Set<string>();
    const own = variants.flatMap(({ properties = {} }) => {
      const fields = Object.entries(properties).filter(([name]) => !Object.hasOwn(shared, name));
      const [mark] = fields.filter(([, { const: value, enum: values }]) => value !== undefined || values);
      const title = mark ? `${mark[0]}: ${kindOf(mark[1])}` : Object.keys(properties).join(', ');
      const others = fields.filter((field) => field !== mark);
      const fresh = others.filter((field) => !told.has(text(field)));
      const again = others.filter((field) => !fresh.includes(field)).map(([name]) => `\`${name}\``);
      for (const field of fresh) told.add(text(field));
      const about = [mark?.[1].description, again.length > 0 ? `As above: ${again.join(', ')}.` : undefined];
      return fields.length === 0
        ? []
        : [
            `| \`${path}\` with ${title} | | | ${escaped(about.filter(Boolean).join(' '))} |`,
            ...fieldRows(path, Object.fromEntries(fresh)),
          ];
    });
    return [...fieldRows(path, shared), ...own];
  };

  const sections = Object.entries(root.properties ?? {}).filter(([name]) => name !== '$schema');
  return [
    '# Every setting of tidegate.yaml',
    '',
    'Made of the schema that checks the file (`tidegate config reference`). All of it is optional. Durations are `250ms`, `10s`, `5m`, `1h`, `7d` or',
    'milliseconds; sizes `512KiB`, `1GiB` or bytes. A value may be `"${NAME}"`, `"${NAME:-default}"` or `"${file:/run/secrets/x}"`;',
    'what stands there is read as a number, `true` or `false` where such is wanted.',
    ...sections.flatMap(([name, schema]) => [
      '',
      `## ${name}`,
      '',
      '| setting | is | default | |',
      '| --- | --- | --- | --- |',
      ...rows(name, schema),
    ]),
    '',
  ].join('\n');
}

const objectsOf = ({ oneOf, anyOf }: Schema): readonly Schema[] | undefined => {
  const variants = oneOf ?? anyOf;
  return variants?.every(({ properties }) => properties) ? variants : undefined;
};

const holdsOthers = ({ properties, additionalProperties, items, oneOf, anyOf, $ref }: Schema): boolean =>
  $ref !== undefined ||
  properties !== undefined ||
  typeof additionalProperties === 'object' ||
  (items !== undefined && holdsOthers(items)) ||
  (oneOf ?? anyOf ?? []).some(holdsOthers);

/** Fields whose names say all. */
const isPlainList = (fields: Readonly<Record<string, Schema>>): boolean =>
  Object.values(fields).every((field) => field.description === undefined && !holdsOthers(field));

function kindOf({
  type,
  title,
  const: only,
  enum: values,
  items,
  anyOf,
  properties,
  additionalProperties,
}: Schema): string {
  if (title) return title;
  if (properties) return Object.keys(properties).join(', ');
  if (typeof additionalProperties === 'object') return `${kindOf(additionalProperties)} by name`;
  if (only !== undefined) return `\`${String(only)}\``;
  if (values) return values.map((value) => `\`${String(value)}\``).join(', ');
  if (anyOf) return [...new Set(anyOf.map(kindOf))].join(' or ');
  if (type === 'array') return `list of ${items ? kindOf(items) || 'values' : 'values'}`;
  return typeof type === 'string' ? type : (type ?? []).join(' or ');
}

const escaped = (text = ''): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
