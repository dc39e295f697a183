import { count } from './format.js'

/** The server's default limit for one message (MAX_MESSAGE_BYTES); above it the server would end the connection. */
const MOST_BYTES = 65_536

/** The box that sends with Enter, and the button that sends a file. */
export class Composer {
  #message
  #send
  #problem
  #transmit

  /**
   * @param {{ form: HTMLFormElement, message: HTMLTextAreaElement, send: HTMLElement, chooseFile: HTMLElement, file: HTMLInputElement, problem: HTMLElement }} parts
   * @param {(data: string | ArrayBuffer) => boolean} transmit says whether the message left
   */
  constructor ({ form, message, send, chooseFile, file, problem }, transmit) {
    this.#message = message
    this.#send = send
    this.#problem = problem
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

  #sendText () {
    const text = this.#message.value
    if (text === '') return
    const size = new TextEncoder().encode(text).length
    if (size > MOST_BYTES) return this.#complain(`The message has ${count(size)} bytes; ${count(MOST_BYTES)} (64 KiB) are the most`)
    if (!this.#deliver(text)) return
    this.#message.value = ''
    this.#message.focus()
  }

  async #sendFile (input) {
    const file = input.files[0]
    if (!file) return
    if (file.size > MOST_BYTES) this.#complain(`${file.name} has ${count(file.size)} bytes; ${count(MOST_BYTES)} (64 KiB) are the most`)
    else {
      const data = await file.arrayBuffer().catch(() => undefined)
      if (data) this.#deliver(data)
      else this.#complain(`${file.name} could not be read`)
    }
    // Else choosing the same file again would not be a change.
    input.value = ''
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
