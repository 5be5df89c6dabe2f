import { once } from '../core/once.ts';
import { packagedPrompts } from '../edge/prompt-files.ts';
import { createLibrary } from '../prompts/library.ts';
import { createPrompts } from '../prompts/render.ts';

/** The prompts that are part of the worker. Jinja comes along, so this is loaded by who names a prompt. */
export const packagedLibrary = once(() => createLibrary(packagedPrompts));
export const prompts = once(() => createPrompts(packagedLibrary()));
