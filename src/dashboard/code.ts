/** The request as somebody would write it elsewhere. */
export function codeFor(language: 'curl' | 'python' | 'javascript', body: object): string {
  const origin = location.origin;
  const json = JSON.stringify(body, null, 2);
  if (language === 'curl') {
    return `curl ${origin}/v1/chat/completions \\
  -H 'content-type: application/json' \\
  -H "authorization: Bearer $TIDEGATE_KEY" \\
  -d '${json.replaceAll("'", "'\\''")}'`;
  }
  if (language === 'python') {
    return `import os
from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key=os.environ.get("TIDEGATE_KEY", "none"))
body = ${python(body)}
for chunk in client.chat.completions.create(**body):
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)`;
  }
  return `import OpenAI from 'openai';

const client = new OpenAI({ baseURL: '${origin}/v1', apiKey: process.env.TIDEGATE_KEY ?? 'none' });
const stream = await client.chat.completions.create(${json});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? '');`;
}

function python(value: unknown, indent = ''): string {
  if (value === null) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (typeof value !== 'object') return JSON.stringify(value);
  const deeper = `${indent}    `;
  const items = Array.isArray(value)
    ? value.map((item) => python(item, deeper))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([key, item]) => `${JSON.stringify(key)}: ${python(item, deeper)}`);
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  return items.length === 0 ? open + close : `${open}\n${deeper}${items.join(`,\n${deeper}`)}\n${indent}${close}`;
}
