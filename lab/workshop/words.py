"""The sentences of a class for its learner, in the languages of the page.

Owns the sentences; `course.py` uses them. Pure.
"""

from msgspec import Struct

__all__ = ["LANGUAGES", "Words"]


class Words(Struct, frozen=True, kw_only=True):
    """The sentences in one language. Their placeholders are the same in all languages (a test compares)."""

    welcome: str
    elsewhere: str
    part: str
    ready: str
    preparing: str
    step: str
    container: str
    expected: str
    done: str
    not_yet: str
    the_step_is: str
    skipped: str
    reopen: str
    closed: str
    new_shell: str
    overdue: str
    hints: tuple[str, ...]
    """Words that request a hint."""
    skips: tuple[str, ...]
    """Words that skip a step."""
    hint_differs: str
    hint_missing: str
    hint_more: str
    hint_unknown: str
    hint_expected: str
    hint_same: str
    lacks: str
    worked: str
    ended_with: str
    no_shell: str
    pause: str
    was_at: str
    nothing_kept: str
    finished: str
    finished_skipped: str
    interrupted: str
    stopped_at: str


EN = Words(
    welcome="Two hosts, orion.local and macbook.local. An empty line types the command for you, `hint` helps, `skip` "
    "passes over a step, `exit` ends the class; ^C interrupts a command.",
    elsewhere="From another terminal: {command} shell orion.local --name {lab}",
    part="## {number}. {title}   ({at} of {of})",
    ready="ready after {seconds:.0f} s",
    preparing="getting ready: part {number}, {title}",
    step="  step {at} of {of}: type on {where}:  {line}",
    container="the container",
    expected="  expected: ",
    done="  ✓",
    not_yet="  not yet: {problem}\n  (an empty line types it for you, `hint` helps, `skip` passes over it)",
    the_step_is="the step is `{line}`",
    skipped="  skipped: `{line}`; what comes later may miss it",
    reopen="  no shell of the container is open any more: an empty line opens it again (`{line}`), `skip` passes on",
    closed="{host}: the shell has ended",
    new_shell="  {problem}\n  here is another shell",
    overdue="  interrupted after {seconds:g} s: the command had not ended",
    hints=("hint",),
    skips=("skip",),
    hint_differs="  hint: you typed `{typed}` where the step has `{wanted}`",
    hint_missing="  hint: behind what you typed the step has `{wanted}`",
    hint_more="  hint: `{typed}` is not in the step",
    hint_unknown="  hint: there is no command `{typed}`; did you mean `{wanted}`?",
    hint_expected="  hint: its output should contain `{line}`",
    hint_same="  hint: type `{line}`",
    lacks="`{line}` is not in its output:\n{output}",
    worked="it worked, and here it should not",
    ended_with="it ended with exit code {code}:\n{output}",
    no_shell="no shell opened:\n{output}",
    pause="\nUntil next time. `{command}` goes on at part {number}, step {at}.",
    was_at="Last time you came to part {number}, step {at}; `{command}` goes on there.",
    nothing_kept="Where you are cannot be kept: {why}",
    finished="\n{count} commands did what they should ({seconds:.0f} s)",
    finished_skipped="\n{count} commands did what they should, {skipped} skipped ({seconds:.0f} s)",
    interrupted="interrupted",
    stopped_at="part {number}, `{line}`: {problem}",
)

FR = Words(
    welcome="Deux hôtes, orion.local et macbook.local. Une ligne vide tape la commande à votre place, `indice` aide, "
    "`passer` saute une étape, `exit` termine le cours ; ^C interrompt une commande.",
    elsewhere="Depuis un autre terminal : {command} shell orion.local --name {lab}",
    part="## {number}. {title}   ({at} sur {of})",
    ready="prêt après {seconds:.0f} s",
    preparing="préparation : partie {number}, {title}",
    step="  étape {at} sur {of} : tapez sur {where} :  {line}",
    container="le conteneur",
    expected="  attendu : ",
    done="  ✓",
    not_yet="  pas encore : {problem}\n  (une ligne vide la tape à votre place, `indice` aide, `passer` la saute)",
    the_step_is="l'étape est `{line}`",
    skipped="  étape sautée : `{line}` ; elle peut manquer à la suite",
    reopen="  aucun shell du conteneur n'est plus ouvert : une ligne vide le rouvre (`{line}`), `passer` saute l'étape",
    closed="{host} : le shell est terminé",
    new_shell="  {problem}\n  voici un autre shell",
    overdue="  interrompue après {seconds:g} s : la commande n'était pas terminée",
    hints=("indice", "hint"),
    skips=("passer", "skip"),
    hint_differs="  indice : vous avez tapé `{typed}`, l'étape a `{wanted}`",
    hint_missing="  indice : après ce que vous avez tapé, l'étape a `{wanted}`",
    hint_more="  indice : `{typed}` n'est pas dans l'étape",
    hint_unknown="  indice : il n'y a pas de commande `{typed}` ; vouliez-vous dire `{wanted}` ?",
    hint_expected="  indice : sa sortie devrait contenir `{line}`",
    hint_same="  indice : tapez `{line}`",
    lacks="`{line}` n'est pas dans la sortie :\n{output}",
    worked="elle a réussi, et ici elle ne devrait pas",
    ended_with="elle s'est terminée avec le code {code} :\n{output}",
    no_shell="aucun shell ne s'est ouvert :\n{output}",
    pause="\nÀ bientôt. `{command}` reprend à la partie {number}, étape {at}.",
    was_at="La dernière fois vous étiez à la partie {number}, étape {at} ; `{command}` y reprend.",
    nothing_kept="Votre progression ne peut pas être conservée : {why}",
    finished="\n{count} commandes ont fait ce qu'elles devaient ({seconds:.0f} s)",
    finished_skipped="\n{count} commandes ont fait ce qu'elles devaient, {skipped} sautées ({seconds:.0f} s)",
    interrupted="interrompu",
    stopped_at="partie {number}, `{line}` : {problem}",
)

LANGUAGES = {"en": EN, "fr": FR}
