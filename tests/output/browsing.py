"""What the tests of pages do in a browser."""

from selenium.common.exceptions import ElementClickInterceptedException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

WAIT_S = 20


def open_page(browser, page):
    """Open a file, on a screen of light colors."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    browser.get_log("browser")  # is empty from here on
    browser.get(page.as_uri())


def wait(browser, condition):
    WebDriverWait(browser, WAIT_S, poll_frequency=0.02).until(lambda _: condition())


def click(browser, selector):
    """Click in the middle of the window, once the page is not scrolling there any more."""
    target = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", target)
    WebDriverWait(browser, WAIT_S, 0.05, ignored_exceptions=(ElementClickInterceptedException,)).until(
        lambda _: target.click() is None
    )


def loaded(browser):
    """The addresses that the page has loaded from, save those of data."""
    names = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    return [name for name in names if not name.startswith("data:")]


def set_scheme(browser, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})


CONTRAST = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (color) => color.slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
const back = (node) => {
    for (; node; node = node.parentElement) {
        const color = rgb(getComputedStyle(node).backgroundColor);
        if (color.length === 3 || color[3] === 1) return color;
    }
};
return [...document.querySelectorAll(arguments[0])].filter((node) => node.textContent.trim()).map((node) => {
    const [low, high] = [light(rgb(getComputedStyle(node).color)), light(back(node))].sort((a, b) => a - b);
    return [node.textContent, (high + 0.05) / (low + 0.05)];
});"""


def contrasts(browser, places):
    """The text of each element at the selector `places`, and the contrast of its color to the one behind it."""
    return browser.execute_script(CONTRAST, places)
