/**
 * Reads one JSON object of a call while it is written, `{"name": "f", "arguments": {…}}`, and gives its parts as they
 * come: the name once, the arguments' own text piece by piece. Text in, no parsing of the arguments: models err.
 */
export interface CallScanner {
  /** Takes text up to the object's end; gives the rest behind it, or undefined while the object is open. */
  push(text: string): string | undefined;
  readonly name: string | undefined;
  /** Text of the arguments since the last call of this. Empty until the name is known. */
  takeArguments(): string;
  /** False when this cannot become a call any more. */
  readonly sound: boolean;
}

export function createCallScanner(): CallScanner {
  let depth = 0;
  let inString = false;
  let escaped = false;
  let key: string | undefined; // of the pair being read, at depth 1
  let stringText = ''; // of the string being read at depth 1
  let expecting: 'key' | 'colon' | 'value' | 'end' = 'key';
  let name: string | undefined;
  let args = '';
  let inArguments = false;
  let scalar = false; // the arguments are a string or number
  let sound = true;
  let ended = false;

  const take = (char: string): void => {
    if (inArguments) {
      const closes = depth === 1 && !inString && (char === ',' || char === '}');
      if (!closes) args += char;
    }
    if (inString) {
      if (escaped) escaped = false;
      else if (char === '\\') escaped = true;
      else if (char === '"') {
        inString = false;
        if (depth === 1) endString();
        return;
      }
      if (depth === 1) stringText += char;
      return;
    }
    switch (char) {
      case '"':
        inString = true;
        if (depth === 1) stringText = '';
        else if (depth === 0) sound = false;
        return;
      case '{':
      case '[':
        if (depth === 0 && char === '[') sound = false;
        depth++;
        return;
      case '}':
      case ']':
        depth--;
        if (depth === 1 && inArguments && !scalar) {
          inArguments = false;
          expecting = 'end';
        } else if (depth === 0) {
          inArguments = false;
          ended = true;
        }
        return;
      case ',':
        if (depth === 1) {
          inArguments = false;
          expecting = 'key';
        }
        return;
      case ':':
        if (depth === 1 && expecting === 'colon') {
          expecting = 'value';
          if (key === 'arguments' || key === 'parameters') {
            inArguments = true;
            scalar = false;
          }
        }
        return;
      default:
        if (depth === 0 && /\S/.test(char)) sound = false;
    }
  };

  const endString = (): void => {
    const text = decode(stringText);
    if (expecting === 'key') {
      key = text;
      expecting = 'colon';
    } else if (expecting === 'value') {
      if (key === 'name' || key === 'function') name = text;
      if (inArguments) scalar = true;
      expecting = 'end';
    }
  };

  return {
    push(text) {
      for (let i = 0; i < text.length; i++) {
        take(text[i] ?? '');
        if (ended) return text.slice(i + 1);
        if (!sound) return undefined;
      }
      return undefined;
    },
    get name() {
      return name;
    },
    takeArguments() {
      if (name === undefined) return '';
      const text = args;
      args = '';
      return text;
    },
    get sound() {
      return sound;
    },
  };
}

function decode(text: string): string {
  try {
    return String(JSON.parse(`"${text}"`));
  } catch {
    return text;
  }
}
