import { count, size } from './format.js'

/** The box that sends with Enter, and the button that sends a file. */
export class Composer {
  #message
  #send
  #problem
  #chooseFile
  #transmit
  /** What the server takes (MAX_MESSAGE_BYTES), by default until it says so; for more it would end the connection. */
  #mostBytes = 65_536

  /**
   * @param {{ form: HTMLFormElement, message: HTMLTextAreaElement, send: HTMLElement, chooseFile: HTMLElement, file: HTMLInputElement, problem: HTMLElement }} parts
   * @param {(data: string | ArrayBuffer) => boolean} transmit says whether the message left
   */
  constructor ({ form, message, send, chooseFile, file, problem }, transmit) {
    this.#message = message
    this.#send = send
    this.#problem = problem
    this.#chooseFile = chooseFile
    this.#transmit = transmit
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#sendText()
    })
    message.addEventListener('keydown', (event) => {
      // While an input method composes, Enter belongs to it.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
      event.preventDefault()
      this.#sendText()
    })
    message.addEventListener('input', () => this.#complain(''))
    chooseFile.addEventListener('click', () => file.click())
    file.addEventListener('change', () => this.#sendFile(file))
  }

  /** Shows whether sending works now. The button stays in the tab order and says why it does not. */
  setReady (ready) {
    this.#send.ariaDisabled = String(!ready)
    if (ready) this.#complain('')
  }

  /** @param {number} bytes that a message may have */
  setLimit (bytes) {
    if (bytes === this.#mostBytes) return
    this.#mostBytes = bytes
    this.#chooseFile.title = `Sends the bytes of a file, at most ${size(bytes)}, as one binary message`
  }

  #sendText () {
    const text = this.#message.value
    if (text === '' || this.#isTooBig('The message', new TextEncoder().encode(text).length)) return
    if (!this.#deliver(text)) return
    this.#message.value = ''
    this.#message.focus()
  }

  async #sendFile (input) {
    const file = input.files[0]
    if (!file) return
    if (!this.#isTooBig(file.name, file.size)) {
      const data = await file.arrayBuffer().catch(() => undefined)
      if (data) this.#deliver(data)
      else this.#complain(`${file.name} could not be read`)
    }
    // Else choosing the same file again would not be a change.
    input.value = ''
  }

  #isTooBig (name, bytes) {
    const tooBig = bytes > this.#mostBytes
    if (tooBig) this.#complain(`${name} has ${count(bytes)} bytes; the server takes at most ${size(this.#mostBytes)}`)
    return tooBig
  }

  #deliver (data) {
    const left = this.#transmit(data)
    this.#complain(left ? '' : 'Not connected, so this was not sent')
    return left
  }

  #complain (sentence) {
    this.#problem.textContent = sentence
  }
}
