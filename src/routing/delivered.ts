import type { CompletionEvent } from '../core/event.ts';
import type { ToolCall } from '../core/request.ts';

/** What the client already has of an answer: as much as is needed to go on from exactly there. Bounded. */
export interface Delivered {
  push(event: CompletionEvent): void;
  /** Anything that a client could have seen. */
  readonly any: boolean;
  /** More came than is kept: nobody can take over any more. */
  readonly overflowed: boolean;
  readonly choices: ReadonlyMap<number, DeliveredChoice>;
  /** Tokens delivered, one a delta where nothing says more. */
  readonly tokens: number;
}

export interface DeliveredChoice {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
  readonly finished: boolean;
  readonly tokens: number;
  /** The text that came last is a refusal. */
  readonly refusing: boolean;
}

interface OpenChoice {
  text: string;
  toolCalls: { id: string; kind: 'function' | 'custom'; name: string; arguments: string }[];
  finished: boolean;
  tokens: number;
  refusing: boolean;
}

export function createDelivered(maxCharacters: number): Delivered {
  const choices = new Map<number, OpenChoice>();
  let characters = 0;
  const open = (index: number): OpenChoice => {
    let choice = choices.get(index);
    if (!choice) {
      choice = { text: '', toolCalls: [], finished: false, tokens: 0, refusing: false };
      choices.set(index, choice);
      state.any = true;
    }
    return choice;
  };
  /** True while there is room to keep it. */
  const count = (choice: OpenChoice, text: string, tokenCount = 1): boolean => {
    choice.tokens += tokenCount;
    state.tokens += tokenCount;
    characters += text.length;
    if (characters > maxCharacters && !state.overflowed) {
      state.overflowed = true;
      for (const each of choices.values()) {
        each.text = '';
        each.toolCalls = [];
      }
    }
    return !state.overflowed;
  };

  // Plain fields: getters in a literal would give every one of these objects a hidden class of its own.
  const state = { push, any: false, overflowed: false, tokens: 0, choices };
  return state;

  function push(event: CompletionEvent): void {
    switch (event.type) {
      case 'text-delta':
      case 'refusal-delta': {
        const choice = open(event.choice);
        const refusing = event.type === 'refusal-delta';
        if (event.text !== '') choice.refusing = refusing;
        const tokenCount = refusing ? 1 : (event.logprobs?.length ?? event.pieces?.length ?? 1);
        if (count(choice, event.text, tokenCount)) choice.text += event.text;
        return;
      }
      case 'tool-call-start': {
        const choice = open(event.choice);
        if (!state.overflowed) {
          choice.toolCalls[event.index] = { id: event.id, kind: event.kind, name: event.name, arguments: '' };
        }
        return;
      }
      case 'tool-call-delta': {
        const choice = open(event.choice);
        if (!count(choice, event.arguments)) return;
        const call = choice.toolCalls[event.index];
        if (call) call.arguments += event.arguments;
        return;
      }
      case 'reasoning-delta': // another model's own: counted, but nobody goes on from it
        count(open(event.choice), event.text);
        return;
      case 'reasoning-end':
        open(event.choice);
        return;
      case 'finish':
        open(event.choice).finished = true;
        return;
      case 'start':
      case 'progress':
      case 'annotation':
      case 'usage':
      case 'takeover':
      case 'wire':
        return;
      default:
        event satisfies never;
    }
  }
}
