"""A long table: what is in view is drawn at once, all else right after it."""

import json

import pytest
from playwright.sync_api import Response, expect

pytestmark = pytest.mark.browser

# The tokens of the rows in view as soon as the table changed, and how many rows those are.
FIRST_SEEN = """() => new Promise(done => {
  const box = document.querySelector('[data-el=rows-box]').getBoundingClientRect();
  const changes = { subtree: true, childList: true, characterData: true };
  new MutationObserver((_, watch) => {
    watch.disconnect();
    const rows = [...document.querySelectorAll('.listing tr.row')];
    done(rows.map((row, i) => [i, row.querySelector('td:nth-child(3)').textContent, row])
      .filter(([, , row]) => {
        const { top, bottom } = row.getBoundingClientRect();
        return bottom > box.top && top < box.bottom;
      }).map(([i, id]) => [i, id]));
  }).observe(document.querySelector('[data-el=tbody]'), changes);
  document.querySelector('[data-do=step]').click();
})"""


def answers_a_step(response: Response) -> bool:
    # While the model is still on its way, an answer says no more than that.
    return '"step"' in (response.request.post_data or "") and "view" in response.text()


@pytest.mark.parametrize("scrolled", [0, 0.5, 1])
def test_rows_in_view_are_drawn_first_and_all_others_follow(open_page, scrolled):
    page = open_page()
    page.locator("[data-el=top-n]").fill("200")
    page.locator("[data-el=top-n]").press("Enter")
    expect(page.locator("tr.row")).to_have_count(201)
    page.locator("[data-el=rows-box]").evaluate(
        "(box, share) => { box.scrollTop = share * box.scrollHeight; }", scrolled
    )
    with page.expect_response(answers_a_step) as answer:
        seen = page.evaluate(FIRST_SEEN)
    ids = [str(row["token_id"]) for row in json.loads(answer.value.json())["ok"]["view"]["rows"]]
    assert len(seen) >= 5
    assert all(id_ == ids[i] for i, id_ in seen if i < 200)
    expect(page.locator("tr.row:not(.other) td:nth-child(3)")).to_have_text(ids)
    expect(page.locator("tr.row").last).to_have_class("row other")
