import { useEffect, useRef, useState } from 'preact/hooks';
import { publicModels } from './api.ts';
import { answer, bodyOf, defaultParameters, type Parameters, type Turn } from './chat.ts';
import { codeFor } from './code.ts';
import { Icon } from './icons.tsx';
import { CopyButton, Dialog, messageOf, Problem } from './parts.tsx';
import { Side } from './side.tsx';
import { TurnView } from './turn.tsx';

interface Lane {
  readonly model: string;
  readonly turns: readonly Turn[];
}

const starters = [
  'Explain tides to a child in three sentences.',
  'Write a haiku about harbours.',
  'List five uses of salt.',
];

export function Playground() {
  const [models, setModels] = useState<readonly string[]>([]);
  const [lanes, setLanes] = useState<readonly Lane[]>([{ model: '', turns: [] }]);
  const [parameters, setParameters] = useState<Parameters>(defaultParameters);
  const [text, setText] = useState('');
  const [error, setError] = useState<unknown>();
  const [panel, setPanel] = useState(false);
  const [code, setCode] = useState(false);
  const [running, setRunning] = useState<AbortController>();
  const field = useRef<HTMLTextAreaElement>(null);

  useEffect(() => {
    publicModels().then((found) => {
      setModels(found);
      setLanes((last) => last.map((lane) => ({ ...lane, model: lane.model || (found[0] ?? '') })));
    }, setError);
    field.current?.focus();
  }, []);

  const setLane = (index: number, change: (lane: Lane) => Lane) =>
    setLanes((last) => last.map((lane, at) => (at === index ? change(lane) : lane)));

  /** Lets each of these lanes answer its own turns. */
  const run = async (started: readonly (Lane | undefined)[]) => {
    setError(undefined);
    const stop = new AbortController();
    setRunning(stop);
    try {
      await Promise.all(
        started.map(async (lane, index) => {
          if (!lane) return;
          const body = bodyOf(lane.model, lane.turns, parameters);
          setLane(index, () => ({ ...lane, turns: [...lane.turns, { role: 'assistant', text: '' }] }));
          const show = (turn: Turn) => setLane(index, (now) => ({ ...now, turns: [...now.turns.slice(0, -1), turn] }));
          await answer(body, show, stop.signal);
        }),
      );
    } catch (reason) {
      setError(reason);
    } finally {
      setRunning(undefined);
    }
  };

  const send = (prompt: string) => {
    if (running || !prompt.trim() || lanes.some(({ model }) => !model)) return; // the names of models are on their way
    setText('');
    void run(lanes.map(({ model, turns }) => ({ model, turns: [...turns, { role: 'user', text: prompt }] })));
  };

  const compare = () =>
    setLanes((last) =>
      last.length > 1
        ? last.slice(0, 1)
        : [...last, { model: models.find((name) => name !== last[0]?.model) ?? models[0] ?? '', turns: [] }],
    );

  const fresh = lanes.every(({ turns }) => turns.length === 0);
  return (
    <div class="play">
      <div class="play-main">
        <h1 class="hidden-visually">Playground</h1>
        <div class="lanes">
          {lanes.map((lane, index) => (
            <section class="lane" aria-label={lanes.length > 1 ? `Answer ${index + 1}` : 'Conversation'} key={index}>
              <div class="lane-head">
                <select
                  aria-label={lanes.length > 1 ? `Model ${index + 1}` : 'Model'}
                  value={lane.model}
                  onChange={(event) => {
                    const model = event.currentTarget.value;
                    setLane(index, (now) => ({ ...now, model }));
                  }}
                >
                  {models.map((name) => (
                    <option key={name}>{name}</option>
                  ))}
                </select>
                <span class="spacer" />
                {index === lanes.length - 1 && (
                  <>
                    <button
                      type="button"
                      class="button quiet small"
                      aria-pressed={lanes.length > 1}
                      onClick={compare}
                      disabled={models.length === 0}
                    >
                      {lanes.length > 1 ? 'One model' : 'Compare'}
                    </button>
                    <button
                      type="button"
                      class="button quiet small"
                      onClick={() => setCode(true)}
                      disabled={!lane.model}
                    >
                      Code
                    </button>
                    <button
                      type="button"
                      class="button quiet small"
                      disabled={fresh || running !== undefined}
                      onClick={() => setLanes(lanes.map(({ model }) => ({ model, turns: [] })))}
                    >
                      New chat
                    </button>
                    <button
                      type="button"
                      class="button quiet small only-narrow"
                      aria-expanded={panel}
                      aria-label="Parameters"
                      onClick={() => setPanel(!panel)}
                    >
                      <Icon name="sliders" />
                    </button>
                  </>
                )}
              </div>
              <Log
                lane={lane}
                writing={running !== undefined}
                onStarter={send}
                onToolResult={(turns) =>
                  void run(lanes.map((one, at) => (at === index ? { ...one, turns } : undefined)))
                }
              />
            </section>
          ))}
        </div>
        <div class="composer">
          <Problem error={error} />
          <form
            onSubmit={(event) => {
              event.preventDefault();
              send(text);
            }}
          >
            <textarea
              ref={field}
              data-main-field
              aria-label="Message"
              rows={1}
              placeholder="Ask something"
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key === 'Escape') running?.abort();
                if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
                event.preventDefault();
                send(text);
              }}
            />
            {running ? (
              <button type="button" class="button primary" aria-label="Stop" onClick={() => running.abort()}>
                <Icon name="stop" />
              </button>
            ) : (
              <button
                type="submit"
                class="button primary"
                aria-label="Send"
                disabled={!text.trim() || models.length === 0}
              >
                <Icon name="send" />
              </button>
            )}
          </form>
          <p class="hint">
            <kbd>Enter</kbd> sends, <kbd>Shift</kbd> <kbd>Enter</kbd> makes a new line, <kbd>Esc</kbd> stops,{' '}
            <kbd>?</kbd> shows all keys
          </p>
        </div>
      </div>
      <Side parameters={parameters} onChange={setParameters} open={panel} onClose={() => setPanel(false)} />
      {code && <Code lane={lanes[0]} parameters={parameters} draft={text} onClose={() => setCode(false)} />}
    </div>
  );
}

interface LogProps {
  readonly lane: Lane;
  readonly writing: boolean;
  readonly onStarter: (text: string) => void;
  readonly onToolResult: (turns: readonly Turn[]) => void;
}

function Log({ lane, writing, onStarter, onToolResult }: LogProps) {
  const log = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  useEffect(() => {
    if (atEnd.current) log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [lane.turns]);
  return (
    <div
      class="lane-log"
      ref={log}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
      tabIndex={0}
      role="log"
      aria-label="Messages"
      aria-live="off"
      onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
        atEnd.current = scrollHeight - scrollTop - clientHeight < 60;
      }}
    >
      {lane.turns.length === 0 ? (
        <div class="welcome">
          <h2>What shall we try?</h2>
          <p>Talk to any model behind this gateway. Nothing leaves it but what your configuration sends out.</p>
          <div class="starters">
            {starters.map((starter) => (
              <button type="button" class="button small" key={starter} onClick={() => onStarter(starter)}>
                {starter}
              </button>
            ))}
          </div>
        </div>
      ) : (
        <div class="turns">
          {lane.turns.map((turn, index) => (
            <TurnView
              key={index}
              turn={turn}
              writing={writing && index === lane.turns.length - 1}
              onToolResult={(call, result) =>
                onToolResult([...lane.turns, { role: 'tool', text: result, toolCallId: call.id }])
              }
            />
          ))}
        </div>
      )}
      <span class="hidden-visually" role="status">
        {writing ? 'The model is writing' : ''}
      </span>
    </div>
  );
}

interface CodeProps {
  readonly lane: Lane | undefined;
  readonly parameters: Parameters;
  readonly draft: string;
  readonly onClose: () => void;
}

function Code({ lane, parameters, draft, onClose }: CodeProps) {
  const [language, setLanguage] = useState<'curl' | 'python' | 'javascript'>('curl');
  const turns: Turn[] = [...(lane?.turns ?? [])];
  if (draft.trim()) turns.push({ role: 'user', text: draft });
  let text: string;
  try {
    text = codeFor(language, bodyOf(lane?.model ?? '', turns, { ...parameters, probabilities: false }));
  } catch (error) {
    text = messageOf(error);
  }
  return (
    <Dialog title="This chat as code" onClose={onClose}>
      <div class="row" style={{ marginBottom: '12px' }}>
        {(['curl', 'python', 'javascript'] as const).map((name) => (
          <button
            type="button"
            class={`button small ${name === language ? 'primary' : ''}`}
            aria-pressed={name === language}
            key={name}
            onClick={() => setLanguage(name)}
          >
            {name}
          </button>
        ))}
        <span class="spacer" />
        <CopyButton text={text} />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls */}
      <pre class="block" tabIndex={0}>
        {text}
      </pre>
    </Dialog>
  );
}
